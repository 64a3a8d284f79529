/** Decides at once whether a request is taken, so that a full pod refuses instead of queueing without end. */
export interface Admission {
  readonly inFlight: number;
  /** Takes a place for a request; undefined when the pod is full. */
  enter(): Place | undefined;
  /** Resolves once no request whose body has arrived is in flight. */
  computed(): Promise<void>;
}

export interface Place {
  /** Counts bytes of the body against what all bodies together may hold; false when that is used up. */
  reserve(bytes: number): boolean;
  /** The body has arrived whole: from now on the request will be answered, whatever its client does. */
  arrived(): void;
  leave(): void;
}

/** @param maxBytes that the bodies of all requests in flight may hold together */
export function createAdmission(maxInFlight: number, maxBytes: number): Admission {
  let inFlight = 0;
  let computing = 0;
  let bytes = 0;
  let waiters: (() => void)[] = [];
  return {
    get inFlight() {
      return inFlight;
    },
    enter() {
      if (inFlight >= maxInFlight) return undefined;
      inFlight++;
      let own = 0;
      let hasArrived = false;
      return {
        reserve(more) {
          if (bytes + more > maxBytes) return false;
          own += more;
          bytes += more;
          return true;
        },
        arrived() {
          hasArrived = true;
          computing++;
        },
        leave() {
          inFlight--;
          bytes -= own;
          if (!hasArrived) return;
          computing--;
          if (computing > 0) return;
          for (const resolve of waiters) resolve();
          waiters = [];
        },
      };
    },
    computed: () => (computing === 0 ? Promise.resolve() : new Promise((resolve) => waiters.push(resolve))),
  };
}
