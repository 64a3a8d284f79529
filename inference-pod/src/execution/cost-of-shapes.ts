/** What a run may take that the serving thread does itself, in seconds: health and refusals wait for so long. */
const cheapSeconds = 0.001;
/** How many runs of a shape have to be as cheap; one that is not takes back half of those before it. */
const provenRuns = 20;
/** How quickly the mean of the runs here follows them. */
const smoothing = 1 / 64;
/** One run says no more than this, however long it took: the machine may have done something else. */
const mostOfOneRun = 0.016;
/** Taken off so often, a shape does not come back. */
const mostReturns = 3;
/** Clients choose shapes, so their number is bounded. */
const mostShapes = 256;

interface Cost {
  /** Cheap ones in an executor, less those that others have taken back. */
  cheapRuns: number;
  /** Of the runs here, in seconds. */
  mean: number;
  takenOff: number;
}

/** Which shapes are proven to be cheap, by measuring each many times where it can do no harm. */
export class CostOfShapes {
  readonly #costs = new Map<string, Cost>();

  isProven(shapes: string): boolean {
    const cost = this.#costs.get(shapes);
    return cost !== undefined && cost.cheapRuns >= provenRuns;
  }

  /** A run in an executor has been measured. */
  measured(shapes: string, seconds: number): void {
    const cost = this.#costs.get(shapes) ?? this.#add(shapes);
    if (cost === undefined || cost.takenOff > mostReturns) return;
    // One that took longer may have waited for a processor.
    cost.cheapRuns = seconds <= cheapSeconds ? cost.cheapRuns + 1 : Math.floor(cost.cheapRuns / 2);
  }

  /**
   * A run on the serving thread has been measured.
   *
   * @param seconds that the thread computed: however long it had to wait for a processor, which is no cost of the run
   * @returns whether the shape was taken off it
   */
  ranHere(shapes: string, seconds: number): boolean {
    const cost = this.#costs.get(shapes);
    if (cost === undefined || cost.cheapRuns === 0) return false;
    cost.mean += smoothing * (Math.min(seconds, mostOfOneRun) - cost.mean);
    if (cost.mean <= cheapSeconds) return false;
    cost.cheapRuns = 0;
    cost.mean = 0;
    cost.takenOff++;
    return true;
  }

  #add(shapes: string): Cost | undefined {
    if (this.#costs.size >= mostShapes) return undefined;
    const cost: Cost = { cheapRuns: 0, mean: 0, takenOff: 0 };
    this.#costs.set(shapes, cost);
    return cost;
  }
}
