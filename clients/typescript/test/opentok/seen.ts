/** Waiting for what happens, with a deadline. */

const DEADLINE_MS = 10_000;

/** Values in the order they came. */
export class Seen<T> {
  readonly all: T[] = [];
  readonly #waiting = new Set<() => void>();

  add(value: T): void {
    this.all.push(value);
    for (const check of [...this.#waiting]) check();
  }

  /** The first value, present or future, for which `test` is true. */
  async first(test: (value: T) => boolean): Promise<T> {
    await this.until(() => this.all.some(test));
    return this.all.find(test) as T;
  }

  /** Resolves when `condition` is true, which is checked after each value. */
  async until(condition: () => boolean): Promise<void> {
    if (condition()) return;
    await new Promise<void>((resolve, reject) => {
      const check = () => {
        if (!condition()) return;
        clearTimeout(deadline);
        this.#waiting.delete(check);
        resolve();
      };
      const deadline = setTimeout(() => {
        this.#waiting.delete(check);
        reject(new Error(`nothing of the kind within ${DEADLINE_MS} ms; seen: ${JSON.stringify(this.all)}`));
      }, DEADLINE_MS);
      this.#waiting.add(check);
    });
  }
}
