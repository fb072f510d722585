import type { FastifyInstance } from 'fastify';
import type { ExportDeps } from '../export/export.js';
import type { QuestionDeps } from '../http/question.js';
import type { SumsDeps } from '../sums/sums.js';
import type { WeighedDeps } from '../store/weighed.js';
import { serveExplain } from './explain/explain.js';
import { serveFlows } from './flows/flows.js';
import { serveProfiles } from './profile/profile.js';
import { serveEvidence } from './lookup/evidence.js';
import type { EvidenceDeps } from './lookup/evidence.js';
import { serveLookup } from './lookup/lookup.js';
import { servePipeline } from './pipeline/pipeline.js';
import { serveActiveSessions } from './sessions/active.js';
import { serveSessionEvents } from './sessions/events.js';
import type { PageDeps } from './sessions/page.js';
import { servePlayback } from './sessions/playback.js';
import { serveSession } from './sessions/session.js';
import type { SessionDeps } from './sessions/session.js';
import { serveSessions } from './sessions/sessions.js';
import { serveStats } from './stats/stats.js';
import { serveSignals } from './signals/signals.js';
import type { SignalsDeps } from './signals/signals.js';
import { serveSuggestions } from './suggest/suggest.js';
import { serveTopLists } from './top/top.js';
import { serveTraffic } from './traffic/traffic.js';

export type QuestionsDeps = QuestionDeps &
  SumsDeps &
  PageDeps &
  SessionDeps &
  ExportDeps &
  EvidenceDeps &
  SignalsDeps &
  WeighedDeps;

/** The questions, under `/api/v1`. */
export function serveQuestions(app: FastifyInstance, deps: QuestionsDeps): void {
  serveSessions(app, deps);
  serveActiveSessions(app, deps);
  servePlayback(app, deps);
  serveSession(app, deps);
  serveSessionEvents(app, deps);
  serveLookup(app, deps);
  serveEvidence(app, deps);
  serveSuggestions(app, deps);
  servePipeline(app, deps);
  serveExplain(app, deps);
  serveSignals(app, deps);
  serveStats(app, deps);
  serveTopLists(app, deps);
  serveTraffic(app, deps);
  serveFlows(app, deps);
  serveProfiles(app, deps);
}
