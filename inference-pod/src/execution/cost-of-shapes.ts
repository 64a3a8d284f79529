/** What a run may take that the serving thread does itself, in seconds: health and refusals wait for so long. */
const cheapSeconds = 0.001;
/** How many runs of a shape have to be as cheap; one that is not takes back as many. */
const provenRuns = 20;
/** How many times as many after each time that the shape was taken off, and how often that goes on. */
const provenGrowth = 4;
const mostGrowth = 6;
/** How quickly the mean of the runs here follows them. */
const smoothing = 1 / 64;
/** Clients choose shapes, so their number is bounded: what is not proven makes room, and then what was known first. */
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
    return cost !== undefined && isProven(cost);
  }

  /** A run in an executor has been measured. */
  measured(shapes: string, seconds: number): void {
    const cost = this.#costs.get(shapes) ?? this.#add(shapes);
    // One that took longer may have waited for a processor.
    cost.cheapRuns = seconds <= cheapSeconds ? cost.cheapRuns + 1 : Math.max(0, cost.cheapRuns - provenRuns);
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
    cost.mean += smoothing * (seconds - cost.mean);
    if (cost.mean <= cheapSeconds) return false;
    cost.cheapRuns = 0;
    cost.mean = 0;
    cost.takenOff++;
    return true;
  }

  #add(shapes: string): Cost {
    if (this.#costs.size >= mostShapes) this.#costs.delete(this.#leastWorth());
    const cost: Cost = { cheapRuns: 0, mean: 0, takenOff: 0 };
    this.#costs.set(shapes, cost);
    return cost;
  }

  #leastWorth(): string {
    let first = '';
    for (const [shapes, cost] of this.#costs) {
      if (!isProven(cost)) return shapes;
      if (first === '') first = shapes;
    }
    return first;
  }
}

function isProven({ cheapRuns, takenOff }: Cost): boolean {
  return cheapRuns >= provenRuns * provenGrowth ** Math.min(takenOff, mostGrowth);
}
