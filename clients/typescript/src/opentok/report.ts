/** Reports an exception of the page's own code as the browser reports one that nothing catches. */
export function reportException(exception: unknown): void {
  const { reportError } = globalThis as { reportError?: (exception: unknown) => void };
  if (reportError === undefined) {
    // Node has no such function, and an uncaught exception would end the process.
    console.error(exception);
  } else {
    reportError(exception);
  }
}
