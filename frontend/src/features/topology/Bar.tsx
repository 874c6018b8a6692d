/** What can be done with a graph as a whole, the same whatever draws it. */
import { t } from "@/lib/i18n";
import { Button, cx } from "@/ui/kit";

export const Bar = ({
  pinned,
  onFit,
  onTidy,
  className,
}: {
  pinned: boolean;
  onFit: () => void;
  onTidy: (all: boolean) => void;
  className?: string;
}) => (
  <div className={cx("flex gap-1", className)}>
    <Button className="h-7! px-2" title={t("fitHint")} onClick={onFit}>
      {t("fit")}
    </Button>
    <Button className="h-7! px-2" title={t("tidyHint")} onClick={() => onTidy(false)}>
      {t("tidy")}
    </Button>
    {pinned ? (
      <Button className="h-7! px-2" title={t("unpinHint")} onClick={() => onTidy(true)}>
        ◉ {t("unpin")}
      </Button>
    ) : null}
  </div>
);
