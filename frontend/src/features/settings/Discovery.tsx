/** The meshes on the LAN, who of them is there, and how devices of ours join. */
import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { codeWord, type Key, t } from "@/lib/i18n";
import { line } from "@/lib/words";
import { type Mesh, post } from "@/node/client";
import { useMeshes, useSession } from "@/node/reads";
import { Age, Button, Cell, Empty, Id, Loaded, Panel, Row, Select, Table, Txt } from "@/ui/kit";

const JOIN: [Mesh["policy"], Key][] = [
  ["auto", "join_auto"],
  ["ask", "join_ask"],
  ["never", "join_never"],
];

export function Discovery() {
  const q = useMeshes();
  const client = useQueryClient();
  const admin = useSession().data?.scope === "admin";
  const [problem, setProblem] = useState("");
  const act = (asking: Promise<unknown>) => {
    setProblem("");
    asking.catch((e: Error) => setProblem(e.message)).finally(() => void client.invalidateQueries());
  };
  return (
    <div className="flex flex-col gap-3 md:overflow-auto">
      <p className="text-t2">{t("discoveryText")}</p>
      {problem ? (
        <p role="alert" className="text-danger">
          ▲ <Txt max={300}>{problem}</Txt>
        </p>
      ) : null}
      <Loaded q={q}>
        {(list) =>
          list.length ? (
            list.map((m) => (
              <OneMesh
                key={m.meshId ?? m.name ?? "?"}
                m={m}
                admin={admin}
                onPolicy={(policy) => act(post("/meshes/policy", { mesh: m.meshId ?? m.name ?? "", policy }))}
                onAdmit={(deviceId) => act(post("/meshes/admit", { deviceId }))}
              />
            ))
          ) : (
            <Empty>{t("noMeshes")}</Empty>
          )
        }
      </Loaded>
    </div>
  );
}

function OneMesh({
  m,
  admin,
  onPolicy,
  onAdmit,
}: {
  m: Mesh;
  admin: boolean;
  onPolicy: (policy: Mesh["policy"]) => void;
  onAdmit: (device: string) => void;
}) {
  const said = JOIN.find(([id]) => id === m.policy)?.[1];
  return (
    <Panel
      flush
      title={
        <>
          <Txt max={64}>{m.name || t("namelessMesh")}</Txt>{" "}
          {m.meshId ? (
            <code className="font-mono font-normal text-[12px] text-t2">{m.meshId.slice(0, 8)}</code>
          ) : null}
        </>
      }
      aside={
        <>
          {m.own ? <span className="text-ok">● {t("ourMesh")}</span> : <span>{t("otherMesh")}</span>}
          {admin ? (
            <Select
              label={t("joinPolicy")}
              className="h-7!"
              value={m.policy}
              onChange={(e) => onPolicy(e.target.value as Mesh["policy"])}
            >
              {JOIN.map(([id, word]) => (
                <option key={id} value={id}>
                  {t(word)}
                </option>
              ))}
            </Select>
          ) : (
            <span>{said ? t(said) : m.policy}</span>
          )}
        </>
      }
    >
      {m.nearby.length ? (
        <Table
          label={line(m.name || t("namelessMesh"), 64)}
          head={[
            t("name"),
            t("role"),
            t("version"),
            t("address"),
            t("seenSince"),
            t("state"),
            t("admission"),
          ]}
        >
          {m.nearby.slice(0, 200).map((n) => (
            <Row key={n.deviceId}>
              <Cell className="font-medium">
                <Id id={n.deviceId} label={n.name} />
              </Cell>
              <Cell>
                <Txt max={24}>{n.role ? codeWord("ro", n.role) : "–"}</Txt>
              </Cell>
              <Cell>
                <Txt max={24}>{n.version ?? "–"}</Txt>
              </Cell>
              <Cell className="max-w-56 truncate font-mono text-[12px]">
                <Txt title={n.addresses.join(", ")}>{n.addresses[0] ?? "–"}</Txt>
              </Cell>
              <Cell>
                <Age time={n.since} />
              </Cell>
              <Cell className="whitespace-nowrap">
                {n.connected ? (
                  <span className="text-ok">● {t("connected")}</span>
                ) : n.trusted ? (
                  <span className="text-t2">○ {t("trusted")}</span>
                ) : (
                  <span className="text-t2">◇ {t("notTrusted")}</span>
                )}
                {n.pairing ? <span className="text-info"> ◐ {t("pairing")}</span> : null}
              </Cell>
              <Cell>
                {admin && m.own && n.trusted && !n.connected && m.policy === "ask" ? (
                  <Button className="h-7!" onClick={() => onAdmit(n.deviceId)}>
                    {t("admit")}
                  </Button>
                ) : (
                  "–"
                )}
              </Cell>
            </Row>
          ))}
        </Table>
      ) : (
        <Empty>{t("nobodyNear")}</Empty>
      )}
    </Panel>
  );
}
