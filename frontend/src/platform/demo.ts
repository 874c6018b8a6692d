/** The demonstration farm: started from the desktop window; in a browser only the command can be told. */
interface Shell {
  invoke(command: string): Promise<unknown>;
}
const shell = (globalThis as { __TAURI_INTERNALS__?: Shell }).__TAURI_INTERNALS__;

export const tryDemo: (() => Promise<unknown>) | undefined = shell && (() => shell.invoke("try_demo"));
