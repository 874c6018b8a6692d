/** The seven pictures and the number that two persons compare. */
import { t } from "@/lib/i18n";
import { line } from "@/lib/words";

export function Pictures({
  emoji,
  digits,
  title = t("pairCompare"),
}: {
  emoji: { emoji: string; name: string }[];
  digits: string;
  title?: string;
}) {
  return (
    <div>
      <h3 className="mb-2 font-medium">{title}</h3>
      <p className="font-mono font-semibold text-[32px] leading-10 tracking-wider">{line(digits, 24)}</p>
      <ol className="mt-2 flex flex-wrap gap-2">
        {emoji.map((e, i) => (
          <li
            key={`${e.name}${i}`}
            className="flex w-20 flex-col items-center rounded-md border border-line bg-s2 py-1.5"
          >
            <span aria-hidden="true" className="text-[26px] leading-8">
              {e.emoji}
            </span>
            <span className="text-[12px] text-t2">{e.name}</span>
          </li>
        ))}
      </ol>
    </div>
  );
}
