/** One row of tabs. */
import { cx } from "./kit";

export function Tabs({
  tabs,
  on,
  onPick,
  label,
}: {
  tabs: [string, string][];
  on: string;
  onPick: (id: string) => void;
  label: string;
}) {
  return (
    <fieldset className="flex flex-wrap rounded-md border border-line bg-s1 p-0.5">
      <legend className="sr-only">{label}</legend>
      {tabs.map(([id, name]) => (
        <button
          key={id}
          type="button"
          aria-pressed={on === id}
          onClick={() => onPick(id)}
          className={cx(
            "h-7 rounded-[4px] px-2.5 whitespace-nowrap",
            on === id ? "bg-s3 font-medium text-t1" : "text-t2 hover:text-t1",
          )}
        >
          {name}
        </button>
      ))}
    </fieldset>
  );
}
