//! What each grant and preset lets a device do at worst, in words: the one table that the command line,
//! the console's pairing and trust pages and SECURITY.md show.

use super::trust::{Grant, Preset};
use crate::domain::base::Tier;

/// A text in the languages of the console.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Words {
    /// English.
    pub en: &'static str,
    /// German.
    pub de: &'static str,
}

/// Every grant there is, in the order of the table.
pub const GRANTS: &[Grant] = &[
    Grant::Read,
    Grant::Relay,
    Grant::Observe(Tier::T1),
    Grant::Observe(Tier::T2),
    Grant::Observe(Tier::T3),
    Grant::Llm,
    Grant::Estop,
    Grant::Human,
    Grant::Plan,
    Grant::Actuate,
    Grant::Admin,
];

/// What a stolen or lying device with this grant can do here at worst.
pub fn of_grant(grant: Grant) -> Words {
    match grant {
        Grant::Read => Words {
            en: "Reads everything this node knows but what is private: readings, proposals, events, which devices there are.",
            de: "Liest alles, was dieser Knoten weiß, außer Privatem: Messwerte, Vorschläge, Ereignisse, welche Geräte es gibt.",
        },
        Grant::Relay => Words {
            en: "Withholds or delays what it passes on. It cannot alter frames of devices that sign; it can invent frames of gen-1 devices that observe here, at T0.",
            de: "Hält zurück oder verzögert, was es weitergibt. Frames von Geräten, die unterschreiben, kann es nicht ändern; solche von Gen-1-Geräten, die hier beobachten, kann es erfinden, mit T0.",
        },
        Grant::Observe(Tier::T1) => Words {
            en: "Reports false readings, which count as T1: too weak where a policy rule asks for T2.",
            de: "Meldet falsche Messwerte, die als T1 zählen: zu schwach, wo eine Regel T2 verlangt.",
        },
        Grant::Observe(Tier::T3) => Words {
            en: "Reports false readings, which count as T3: they can start whatever L1 rules and standing approvals let its readings start, and open or close interlocks that stand on them.",
            de: "Meldet falsche Messwerte, die als T3 zählen: Sie können auslösen, was L1-Regeln und Freigaben im Voraus auf seine Messwerte hin erlauben, und Verriegelungen öffnen oder schließen, die darauf beruhen.",
        },
        Grant::Observe(_) => Words {
            en: "Reports false readings, which count as T2: they can start whatever L1 rules and standing approvals let its readings start, and open or close interlocks that stand on them.",
            de: "Meldet falsche Messwerte, die als T2 zählen: Sie können auslösen, was L1-Regeln und Freigaben im Voraus auf seine Messwerte hin erlauben, und Verriegelungen öffnen oder schließen, die darauf beruhen.",
        },
        Grant::Llm => Words {
            en: "Uses up the models that are shared here, to the end of its share of a day and at your cost; where a model takes one request at a time, yours waits for one of its for some seconds. What they say starts nothing by itself.",
            de: "Verbraucht die Modelle, die hier geteilt sind, bis ans Ende seines Anteils am Tag und auf deine Kosten; wo ein Modell nur eine Anfrage zugleich nimmt, wartet deine einige Sekunden auf eine von ihm. Was sie sagen, setzt von selbst nichts in Gang.",
        },
        Grant::Estop => Words {
            en: "Stops the actuators of this node at any time, and keeps them stopped until a person here releases them.",
            de: "Hält die Aktoren dieses Knotens jederzeit an, bis ein Mensch hier den Not-Halt zurücksetzt.",
        },
        Grant::Human => Words {
            en: "Says things in the name of a person. It approves nothing: an approval is a person's own signature.",
            de: "Sagt etwas im Namen eines Menschen. Freigeben kann es nichts: Eine Freigabe ist die eigene Unterschrift des Menschen.",
        },
        Grant::Plan => Words {
            en: "Asks for any action, up to its share of waiting drafts. What L1 rules of this node name it for starts at once, within their bounds; everything else waits for persons, and no person it alone vouches for counts. What it asks the planner here leads to no proposal of this node. It can say that it leads: what the rules of this node's planner want is then asked for ten seconds late, or not at all while it says that a person paused it; questions go to it, its answers may be false, and up to two actions that it wants for each are asked for here as a model's, for a person to decide whom it does not alone vouch for; the standing questions it says it asks are not asked here.",
            de: "Fordert jede Bewegung an, bis zu seinem Anteil wartender Wünsche. Wofür L1-Regeln dieses Knotens es nennen, das beginnt sofort, in deren Grenzen; alles andere wartet auf Menschen, und niemand zählt, für den es allein bürgt. Was es den Planer hier fragt, führt zu keinem Vorschlag dieses Knotens. Es kann sagen, dass es führt: Was die Regeln des Planers dieses Knotens wollen, wird dann zehn Sekunden später angefordert oder, solange es sagt, ein Mensch habe es pausiert, gar nicht; Fragen gehen an es, seine Antworten können falsch sein, und bis zu zwei Bewegungen, die es zu jeder will, werden hier als die eines Modells angefordert, damit ein Mensch entscheidet, für den es nicht allein bürgt; die stehenden Fragen, die es zu stellen sagt, werden hier nicht gestellt.",
        },
        Grant::Actuate => Words {
            en: "Offers actuators and reports false outcomes of its own actions. It cannot take over an actuator that another device offers.",
            de: "Bietet Aktoren an und meldet falsche Ergebnisse der eigenen Bewegungen. Einen Aktor, den ein anderes Gerät anbietet, kann es nicht übernehmen.",
        },
        Grant::Admin => Words {
            en: "Revokes every operator key and every device here, for good. Once a person here accepts its operators too, it can invent persons who approve what other devices ask for.",
            de: "Widerruft hier jeden Schlüssel eines Bedieners und jedes Gerät, endgültig. Sobald ein Mensch hier auch seine Bediener annimmt, kann es Menschen erfinden, die freigeben, worum andere Geräte bitten.",
        },
    }
}

/// Whom a preset is for.
pub fn of_preset(preset: Preset) -> Words {
    match preset {
        Preset::Viewer => Words {
            en: "Somebody who only looks.",
            de: "Jemand, der nur schaut.",
        },
        Preset::Gen1 => Words {
            en: "An existing gen-1 node. It can sign nothing, so its readings and wishes rest on the link alone.",
            de: "Ein vorhandener Gen-1-Knoten. Er kann nichts unterschreiben, darum ruhen seine Messwerte und Wünsche allein auf der Verbindung.",
        },
        Preset::Field => Words {
            en: "A node with sensors and actuators.",
            de: "Ein Knoten mit Sensoren und Aktoren.",
        },
        Preset::CommandCenter => Words {
            en: "A planner and the people at it. It decides nothing: people whose keys are enrolled here do.",
            de: "Ein Planer und die Menschen daran. Er entscheidet nichts: Das tun Menschen, deren Schlüssel hier eingetragen sind.",
        },
        Preset::Owner => Words {
            en: "A command centre of your own whose word on persons and devices counts here.",
            de: "Eine eigene Leitstelle, deren Wort über Menschen und Geräte hier gilt.",
        },
    }
}

/// What is said before a device is given `admin`, and beside one that has it.
pub const ADMIN_WARNING: Words = Words {
    en: "admin lets this device revoke every operator key and every device here, for good, and name persons who may approve, once a person here accepts its operators. Give it only to a device that you would hand the keys of this machine.",
    de: "Mit admin kann dieses Gerät hier jeden Schlüssel eines Bedieners und jedes Gerät endgültig widerrufen und Menschen benennen, die freigeben dürfen, sobald ein Mensch hier seine Bediener annimmt. Nur für ein Gerät, dem Sie auch die Schlüssel dieser Maschine geben würden.",
};

/// The table as it stands in SECURITY.md.
pub fn markdown() -> String {
    use std::fmt::Write as _;
    let mut out = String::from("| preset | grants | for |\n|---|---|---|\n");
    for preset in Preset::ALL {
        let grants = preset.grants().to_string().replace(',', ", ");
        // Writing into a string does not fail.
        let _ = writeln!(
            out,
            "| `{}` | {grants} | {} |",
            preset.as_str(),
            of_preset(*preset).en
        );
    }
    out.push_str("\n| grant | what a device that holds it can do here at worst |\n|---|---|\n");
    for grant in GRANTS {
        let _ = writeln!(out, "| `{grant}` | {} |", of_grant(*grant).en);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_in_security_md_is_this_one() {
        let text = include_str!("../../../../SECURITY.md");
        assert!(
            text.contains(&markdown()),
            "replace the table in SECURITY.md by:\n{}",
            markdown()
        );
    }

    #[test]
    fn every_grant_of_a_preset_is_in_the_table() {
        for grant in Preset::ALL
            .iter()
            .flat_map(|p| p.grants().iter().collect::<Vec<_>>())
        {
            assert!(GRANTS.contains(&grant), "{grant}");
        }
    }
}
