/**
 * One kafkajs consumer from its creation to its end. kafkajs cannot cancel a request that waits for
 * a broker. A consumer that is disconnected while it connects or joins continues later and becomes
 * an unknown member. So the end of a life is the end of its sockets, and no others are opened (ADR
 * 0027): later retries of kafkajs fail by themselves and reach no broker.
 */
import kafkajs from 'kafkajs';
import type { Admin, Consumer } from 'kafkajs';
import { signalWithin } from '../lifecycle/signals.js';
import type { Logger } from '../log/logger.js';
import { createKafkaClient } from './client.js';
import type { KafkaConfig } from './config.js';
import type { ConsumerConfig } from './consumer-config.js';
import { kafkaErrorOf } from './errors.js';

export interface ConsumerLife {
  readonly consumer: Consumer;
  readonly admin: Admin;
  /** Whether `end` was called: nothing that it still does counts. */
  isOver(): boolean;
  /**
   * The ids of all other members of the group with the client id of this life. Null while the group
   * changes: a member learns its id late, and would be mistaken for another.
   */
  otherMembers(): Promise<readonly string[] | null>;
  /** Leaves the group in the name of another member. */
  expel(memberId: string): Promise<void>;
  /**
   * Leaves the group if it was joined and the broker answers, then closes all connections
   * permanently.
   */
  end(): Promise<void>;
  /**
   * Resolves after `end` when kafkajs has given up its last attempts, at the latest after 20 s or
   * when the signal fires.
   *
   * @param work the tasks that were begun with this life.
   */
  settled(work: Promise<unknown>, signal: AbortSignal): Promise<void>;
}

/** kafkajs's own retries: of connecting, joining and committing. Few, because we restart it anyway. */
const RETRY = { retries: 3, initialRetryTime: 100, maxRetryTime: 2_000 };
/** An end waits this long for the group's coordinator to take the leave. */
const LEAVE_DEADLINE_MS = 5_000;
/**
 * And this long for kafkajs's retries to fail without a connection. A task that has not ended by then is a
 * promise that kafkajs never settles; it holds no timer and no socket.
 */
const SETTLE_DEADLINE_MS = 20_000;

/** Part of kafkajs's code that its types lack. */
interface Coordinator {
  leaveGroup(member: { groupId: string; memberId: string }): Promise<unknown>;
}

/** @param role names the process, and no other: it identifies members of the group. */
export function createConsumerLife(
  config: { readonly kafka: KafkaConfig; readonly consumer: ConsumerConfig; readonly role: string },
  deps: { readonly logger: Logger },
): ConsumerLife {
  const groupId = config.consumer.group_id;
  const client = createKafkaClient(config.kafka, {
    ...deps,
    role: config.role,
    use: 'consume',
    retries: 2,
  });
  let findCoordinator: (() => Promise<Coordinator>) | null = null;
  let memberId: string | null = null;
  let isOver = false;
  let left: Promise<unknown> = Promise.resolve();
  const consumer = client.kafka.consumer({
    groupId,
    sessionTimeout: config.consumer.session_timeout_ms,
    rebalanceTimeout: config.consumer.rebalance_timeout_ms,
    heartbeatInterval: config.consumer.heartbeat_interval_ms,
    maxWaitTimeInMs: config.consumer.fetch_max_wait_ms,
    maxBytes: config.consumer.fetch_max_bytes,
    maxBytesPerPartition: config.consumer.fetch_max_bytes_per_partition,
    metadataMaxAge: config.consumer.metadata_max_age_ms,
    rackId: config.kafka.client_rack,
    // Every end of kafkajs's consumer reaches us as a crash, and we start a new one. kafkajs itself
    // would restart after some errors and stay silent after others.
    retry: { ...RETRY, restartOnFailure: async () => false },
    partitionAssigners: [
      (given) => {
        findCoordinator = async () =>
          (await given.cluster.findGroupCoordinator({ groupId })) as unknown as Coordinator;
        return kafkajs.PartitionAssigners.roundRobin(given);
      },
    ],
  });
  const admin = client.kafka.admin({ retry: RETRY });
  consumer.on('consumer.group_join', ({ payload }) => {
    ({ memberId } = payload);
  });

  return {
    consumer,
    admin,
    isOver: () => isOver,
    async otherMembers() {
      const { groups } = await admin.describeGroups([groupId]);
      const group = groups[0];
      if (group === undefined) return [];
      const ours = group.members.filter(({ clientId }) => clientId === client.clientId);
      const isSettled =
        memberId === null ||
        (group.state === 'Stable' && ours.some((each) => each.memberId === memberId));
      if (!isSettled) return null;
      return ours.flatMap((each) => (each.memberId === memberId ? [] : [each.memberId]));
    },
    async expel(other) {
      const coordinator = await findCoordinator?.();
      try {
        await coordinator?.leaveGroup({ groupId, memberId: other });
      } catch (cause) {
        if (kafkaErrorOf(cause, 'leave').type !== 'UNKNOWN_MEMBER_ID') throw cause;
        // It has left meanwhile.
      }
    },
    async end() {
      isOver = true;
      const hasJoined = memberId !== null;
      left = Promise.allSettled([consumer.disconnect(), admin.disconnect()]);
      const deadlineMs = Math.min(LEAVE_DEADLINE_MS, config.consumer.session_timeout_ms);
      if (hasJoined) await within(AbortSignal.timeout(deadlineMs), left);
      client.destroy();
    },
    settled: (work, signal) =>
      within(signalWithin(signal, SETTLE_DEADLINE_MS), Promise.allSettled([left, work])),
  };
}

/** Resolves with the work, or when the signal fires. */
async function within(signal: AbortSignal, work: Promise<unknown>): Promise<void> {
  const over = new AbortController();
  const cut = new Promise<void>((resolve) => {
    const onAbort = () => {
      resolve();
    };
    signal.addEventListener('abort', onAbort, { once: true, signal: over.signal });
    if (signal.aborted) onAbort();
  });
  await Promise.race([work, cut]);
  over.abort();
}
