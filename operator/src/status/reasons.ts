import type { StartupFailureReason } from '../../../contract/src/startup-failure.ts';

/** Every reason that a condition may have, with what it means. `docs/reasons.md` says the same (a test compares them). */
export const conditionReasons = {
  // Ready, Available, UpToDate, Reconciling
  Ready: 'the revision that is wanted serves',
  PodsServe: 'at least one pod serves',
  NoPodServes: 'no pod serves',
  ScaledToZero: 'no pod is asked for',
  AllPodsUpdated: 'every pod runs the revision that the spec asks for',
  RollingOut: 'a revision is being rolled out',
  RollingBack: 'an older revision is being brought back',
  Preflight: 'a pod of the revision that the spec asks for is asked before it is rolled out',
  Prefetching: 'the model of the revision that the spec asks for is fetched to the nodes before it is rolled out',
  Canary: 'the revision that the spec asks for is tried beside the one that serves, with a share of the requests',
  Paused: 'somebody else than the operator has paused the Deployment',
  Scaling: 'the number of pods is changing',
  LettingGo: 'a canary has ended, and its pods are kept until the routes of a Gateway have let go of them',
  Settled: 'nothing is under way',
  Stalled: 'nothing is under way, because a person has to help',
  // Stalled
  NotStalled: 'no help is needed',
  NameConflict: 'an object of a name that is needed is there already and belongs to somebody else',
  ApplyRefused: 'the API server refuses a write',
  DriftContested: 'somebody changes a child back again and again: the operator waits before it repairs it once more',
  ContractBroken: 'old requests may not be sent to the new model: it is not rolled out',
  ContractUnknown:
    'no pod tells what the serving model takes, so nothing can be compared: the new one is not rolled out',
  PreflightFailed: 'the pod that was asked before the rollout could not load the model, or could not be asked',
  CanaryFailed:
    'the revision that the spec asks for has failed as a canary, and is kept without requests, because onFailure is Pause',
  ProgressDeadlineExceeded: 'a rollout made no progress for spec.rollout.progressDeadlineSeconds',
  // RolledBack
  RolledBack: 'an older revision is kept in the place of the one that the spec asks for',
  NotRolledBack: 'the revision that the spec asks for is wanted',
  Undo: 'somebody undid the Deployment',
  ProgressDeadline: 'the new revision missed its deadline',
  GateFailed: 'the analysis of the answers of a canary found against it',
  Aborted: 'somebody has aborted the canary of the new revision',
  // ModelLoaded
  Verified: 'the model is loaded, and its digest is the one of the spec',
  Resolved: 'the model is loaded, and what its tag or branch led to is kept',
  Moved: 'the model is loaded, and its tag or branch leads to something else by now',
  Unpinned: 'the model is loaded, and nothing guarantees the same bytes next time',
  Loading: 'no pod serves yet, and one tells how far it is with loading the model',
  GoldenSetDiffers: 'the model is loaded and serves, for the revision was healthy once, and fails its golden set',
  GoldenSetUnchecked: 'the model is loaded, by an image that does not tell whether it checks the golden set',
  SignatureUnchecked: 'the model is loaded, by an image that does not tell whether it checks signatures',
  DigestsDiffer: 'pods of one revision loaded different bytes',
  // AutoscalingActive
  NotRequested: 'the number of pods is fixed',
  Starting: 'the autoscaler has not looked at the pods yet',
  MetricsFound: 'the autoscaler sees its metrics and sets the number of pods',
  NoMetricsAPI: 'the cluster has no metrics API',
  MetricsMissing: 'the autoscaler cannot read one of its metrics',
  UnableToScale: 'the autoscaler cannot set the number of pods',
  ForeignAutoscaler: 'an autoscaler that is not the operator’s sets the number of pods',
  // Linked
  Linked: 'every pod that serves speaks with the operator',
  Linking: 'not every pod was called yet',
  PodsNotLinked: 'some pods tell no figures and take no tables; the message says why',
  NoLinkKey: 'the operator has no key to sign tables with',
  // what keeps pods from serving
  PodsCannotBeCreated: 'a quota or a policy of the namespace forbids pods',
  Unschedulable: 'a pod fits on no node',
  VolumeCannotBeMounted: 'a claim, a ConfigMap or a Secret is missing',
  ImageCannotBePulled: 'the inference image cannot be pulled',
  ContainerCannotStart: 'the container cannot be started',
  OutOfMemory: 'the container used more memory than it may',
  CrashLoop: 'the container ends again and again',
} as const;

export type ConditionReason = keyof typeof conditionReasons | StartupFailureReason;

/** Every reason that an event may have beside those of problems (which are conditions' reasons), and its type. */
export const eventReasons = {
  RolloutStarted: { type: 'Normal', meaning: 'a revision is being rolled out' },
  RolloutComplete: { type: 'Normal', meaning: 'the revision serves' },
  RolledBack: {
    type: 'Normal or Warning',
    meaning: 'an older revision is kept: after an undo, or (Warning) a failure',
  },
  RollbackEnded: { type: 'Normal', meaning: 'somebody brought the spec’s own revision back: nothing is held any more' },
  UndoPutBack: { type: 'Warning', meaning: 'an undo was not followed; the message says why' },
  UndoFailed: {
    type: 'Warning',
    meaning: 'the revision of an undo cannot serve any more: what the spec asks for is back',
  },
  UndoSuperseded: { type: 'Normal', meaning: 'an undo was overtaken by a new spec' },
  RestartUndone: { type: 'Normal', meaning: 'an undo took back a restart, and no version' },
  CanaryStep: { type: 'Normal', meaning: 'a canary is given a share of the requests' },
  CanaryPaused: { type: 'Normal', meaning: 'somebody has paused a canary' },
  CanaryResumed: { type: 'Normal', meaning: 'somebody lets a canary go on' },
  CanaryPromoted: { type: 'Normal', meaning: 'a canary has gone through its steps, or somebody promotes it' },
  CommandIgnored: {
    type: 'Warning',
    meaning: 'an annotation asks something of a canary that is not under way',
  },
  Retrying: { type: 'Normal', meaning: 'a revision that was held back is tried again' },
  RetryIgnored: { type: 'Warning', meaning: 'the retry annotation names another revision than the one held back' },
  DriftRepaired: { type: 'Warning', meaning: 'somebody changed a child: it was put back' },
  ApplyResisted: { type: 'Warning', meaning: 'a policy of the cluster changes a field back: it is left as it is' },
  ForeignAutoscaler: { type: 'Warning', meaning: 'an autoscaler that is not the operator’s sets the number of pods' },
} as const;

export type EventReason = keyof typeof eventReasons | ConditionReason;
