/** The address is the place: selections and filters live in its query. */
import { useNavigate, useSearch } from "@tanstack/react-router";

export type Place = Record<string, string>;
export function usePlace(): [Place, (change: Record<string, string | undefined>, push?: boolean) => void] {
  const place = useSearch({ strict: false }) as Place;
  const go = useNavigate();
  return [
    place,
    (change, push) => {
      const next: Place = {};
      for (const [k, v] of Object.entries({ ...place, ...change }))
        if (v !== undefined && v !== "") next[k] = v;
      void go({ to: ".", search: next as never, replace: !push });
    },
  ];
}
