import { createProgram } from '@sockscope/runtime';
import { registerKafkaCheck } from '@sockscope/runtime/kafka';
import { registerAclCommands } from './acl/commands.js';
import { registerUsersCommands } from './auth/commands.js';
import { ownEndpointsOf, proxyConfig } from './config.js';
import { registerRefusedCommands } from './events/refused/commands.js';
import { relayNameFor } from './relay/create-relay.js';
import { runProxy } from './service.js';

const program = createProgram({
  name: 'sockscope-proxy',
  description: 'A SOCKS5 proxy that records every connection.',
  schema: proxyConfig,
  examples: {
    '': '--config proxy.yaml',
    'users add': 'users add alice --file users.yaml --group staff',
    'users remove': 'users remove alice --file users.yaml',
    'users list': 'users list --file users.yaml',
    'acl check': 'acl check acl.yaml',
    'acl explain': 'acl explain --file acl.yaml --user alice --dest db.corp.example --port 443',
    'refused list': 'refused list --json',
    'refused send': 'refused send',
    'kafka check': 'kafka check',
  },
  resolved: (config) => ({
    ...config,
    relay: { ...config.relay, relay: relayNameFor(config.relay) },
  }),
  run: runProxy,
});
registerUsersCommands(program.command, () => program.config().auth.users_file);
registerAclCommands(program.command, () => {
  const config = program.config();
  return {
    acl: { ...config.acl, own_endpoints: ownEndpointsOf(config) },
    users_file: config.auth.users_file,
    dns: config.dns,
  };
});
registerRefusedCommands(program.command, () => {
  const { events, kafka } = program.config();
  return { spoolDir: events.spool_dir, kafka };
});
registerKafkaCheck(program.command, () => {
  const { kafka } = program.config();
  const acl = { resource: 'topic', name: kafka.topic, operations: ['Write'] } as const;
  return { kafka, uses: ['produce'], acls: [acl] };
});
await program.main();
