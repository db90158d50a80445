/**
 * The life of the page: what a browser says about leaving, freezing, waking and the network. Outside
 * of a browser there is none of it.
 */

/** What a session does about the life of its page. */
export interface PageLifeHandlers {
  /** The page goes for good: say goodbye now. */
  leave(): void;
  /** The page is put aside and may be shown again: leave the link, and stay off the network. */
  suspend(): void;
  /** The page is shown again. */
  resume(): void;
  /**
   * The network may be back or another one, or the machine may have slept: check the link, or
   * reconnect, at once.
   */
  wake(): void;
}

/** The global scope of a page or a worker, as far as it is used here. */
export interface PageScope extends EventTarget {
  readonly document?: EventTarget & { readonly visibilityState: string };
  readonly navigator?: { readonly onLine?: boolean; readonly connection?: EventTarget };
}

/** Calls the handlers until the returned function is called. */
export function watchPage(handlers: PageLifeHandlers, scope = globalThis as unknown as PageScope): () => void {
  if (typeof scope.addEventListener !== 'function') return () => {};
  const { document, navigator } = scope;
  const watches: [EventTarget | undefined, string, (event: Event) => void][] = [
    [
      scope,
      'pagehide',
      (event) => ((event as PageTransitionEvent).persisted ? handlers.suspend() : handlers.leave()),
    ],
    [scope, 'pageshow', (event) => (event as PageTransitionEvent).persisted && handlers.resume()],
    [scope, 'online', () => handlers.wake()],
    // Whether it is true, the next probe shows.
    [scope, 'offline', () => handlers.wake()],
    [navigator?.connection, 'change', () => handlers.wake()],
    // The end of a freeze, with which browsers save energy.
    [document, 'resume', () => handlers.wake()],
    [document, 'visibilitychange', () => document?.visibilityState === 'visible' && handlers.wake()],
  ];
  for (const [target, name, listener] of watches) target?.addEventListener(name, listener);
  return () => {
    for (const [target, name, listener] of watches) target?.removeEventListener(name, listener);
  };
}

/** Whether the browser is certain that there is no network. */
export function isOffline(): boolean {
  return typeof navigator !== 'undefined' && navigator.onLine === false;
}
