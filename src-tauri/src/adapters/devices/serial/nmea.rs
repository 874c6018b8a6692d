//! NMEA 0183: sentences with a checksum, and the quantities in them. Pure.

use serde::Deserialize;

/// A quantity that one or several sentences say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Quantity {
    /// Degrees, north positive.
    Latitude,
    /// Degrees, east positive.
    Longitude,
    /// Metres above mean sea level.
    Altitude,
    /// Metres a second over ground.
    Speed,
    /// Degrees from true north, over ground.
    Course,
    /// Degrees from true north, where the bow points.
    Heading,
    /// How many satellites are used.
    Satellites,
    /// The horizontal dilution of precision.
    Hdop,
    /// Metres of water under the transducer.
    Depth,
}

/// A sentence whose checksum is right.
#[derive(Debug)]
pub(super) struct Sentence<'a> {
    /// Its kind without who talks: `RMC`.
    pub kind: &'a str,
    fields: Vec<&'a str>,
}

impl<'a> Sentence<'a> {
    /// The sentence in a line; `None` where the line is none.
    ///
    /// # Errors
    /// If it is one without a checksum, or with a wrong one.
    pub(super) fn of(line: &'a str) -> Option<Result<Self, String>> {
        let inner = line.trim().strip_prefix(['$', '!'])?;
        let sealed = inner.rsplit_once('*').and_then(|(body, sum)| {
            let is_hex = sum.len() == 2 && sum.bytes().all(|b| b.is_ascii_hexdigit());
            let sum = u8::from_str_radix(sum, 16).ok().filter(|_| is_hex)?;
            Some((body, sum))
        });
        let Some((body, sum)) = sealed else {
            return Some(Err("a sentence has no checksum".to_owned()));
        };
        if body.bytes().fold(0, |all, byte| all ^ byte) != sum {
            return Some(Err("a sentence has a wrong checksum".to_owned()));
        }
        let mut fields = body.split(',');
        let address = fields.next().unwrap_or_default();
        // Two letters say who talks; those of one maker begin with P and are as they are.
        let kind = match address.starts_with('P') {
            true => address,
            false => address.get(2..).unwrap_or_default(),
        };
        let fields = fields.collect();
        Some(Ok(Self { kind, fields }))
    }

    /// A field by its number, which begins at 1 as in the manuals.
    pub(super) fn field(&self, number: usize) -> Option<&'a str> {
        self.fields.get(number.checked_sub(1)?).copied()
    }

    fn number(&self, number: usize) -> Option<f64> {
        self.field(number)?.trim().parse().ok()
    }

    fn is(&self, number: usize, text: &str) -> bool {
        self.field(number) == Some(text)
    }

    /// A quantity; `None` where this kind of sentence does not say it.
    ///
    /// # Errors
    /// If the receiver says that it has none.
    pub(super) fn quantity(&self, quantity: Quantity) -> Option<Result<f64, String>> {
        // Where it says how it knows (NMEA 0183, mode indicator and quality): none, estimated, typed in and simulated are no fix.
        let measured = |mode: usize| !["N", "E", "M", "S"].iter().any(|m| self.is(mode, m));
        let has_fix = match self.kind {
            "RMC" => self.is(2, "A") && measured(12),
            "GGA" => self
                .number(6)
                .is_some_and(|fix| (1.0..6.0).contains(&fix) || fix > 8.0),
            "GLL" => self.is(6, "A") && measured(7),
            "VTG" => measured(9),
            _ => true,
        };
        let knots = |value: f64| value * 1_852.0 / 3_600.0;
        let found = match (quantity, self.kind) {
            // Said also without a position.
            (Quantity::Satellites, "GGA") => return Some(self.said(self.number(7))),
            (Quantity::Latitude, "RMC") => self.angle(3),
            (Quantity::Latitude, "GGA") => self.angle(2),
            (Quantity::Latitude, "GLL") => self.angle(1),
            (Quantity::Longitude, "RMC") => self.angle(5),
            (Quantity::Longitude, "GGA") => self.angle(4),
            (Quantity::Longitude, "GLL") => self.angle(3),
            (Quantity::Altitude, "GGA") => self.number(9),
            (Quantity::Hdop, "GGA") => self.number(8),
            (Quantity::Speed, "RMC") => self.number(7).map(knots),
            (Quantity::Speed, "VTG") => self.number(5).map(knots),
            (Quantity::Course, "RMC") => self.number(8),
            (Quantity::Course, "VTG") | (Quantity::Heading, "HDT" | "THS") => self.number(1),
            (Quantity::Depth, "DPT") => self.number(1),
            (Quantity::Depth, "DBT") => self.number(3),
            _ => return None,
        };
        Some(match has_fix {
            true => self.said(found),
            false => Err(format!(
                "the receiver has no position of its own ({})",
                self.kind
            )),
        })
    }

    fn said(&self, found: Option<f64>) -> Result<f64, String> {
        found.ok_or_else(|| format!("its {} says nothing of it", self.kind))
    }

    /// An angle of degrees and minutes (`dddmm.mmm`) with its half of the earth behind it.
    fn angle(&self, number: usize) -> Option<f64> {
        let text = self.field(number)?.trim();
        let whole = text.split('.').next().unwrap_or_default().len();
        let (degrees, minutes) = text.split_at_checked(whole.checked_sub(2)?)?;
        let is_digits = degrees.bytes().all(|b| b.is_ascii_digit());
        let degrees: f64 = match degrees {
            "" => 0.0,
            some => some.parse().ok().filter(|_| is_digits)?,
        };
        let minutes: f64 = minutes.parse().ok()?;
        let (sign, most) = match self.field(number + 1)?.trim() {
            "N" => (1.0, 90.0),
            "S" => (-1.0, 90.0),
            "E" => (1.0, 180.0),
            "W" => (-1.0, 180.0),
            _ => return None,
        };
        let angle = degrees + minutes / 60.0;
        // Minutes to five digits are some centimetres; more would be noise of the division.
        let angle = (angle * 1e8).round() / 1e8;
        ((0.0..60.0).contains(&minutes) && angle <= most).then_some(sign * angle)
    }
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A sentence with its checksum.
    pub(in crate::adapters::devices::serial) fn sealed(body: &str) -> String {
        let sum = body.bytes().fold(0, |all, byte| all ^ byte);
        format!("${body}*{sum:02X}")
    }

    fn quantity(line: &str, quantity: Quantity) -> Option<Result<f64, String>> {
        Sentence::of(line)?.unwrap().quantity(quantity)
    }

    #[test]
    fn quantities_are_found_in_the_sentences_of_the_manuals() {
        let gga = "$GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,*47";
        let rmc = "$GPRMC,123519,A,4807.038,N,01131.000,E,022.4,084.4,230394,003.1,W*6A";
        for (line, what, value) in [
            (gga, Quantity::Latitude, 48.117_3),
            (gga, Quantity::Longitude, 11.516_666_67),
            (gga, Quantity::Altitude, 545.4),
            (gga, Quantity::Satellites, 8.0),
            (gga, Quantity::Hdop, 0.9),
            (rmc, Quantity::Latitude, 48.117_3),
            (rmc, Quantity::Course, 84.4),
        ] {
            let found = quantity(line, what).unwrap().unwrap();
            assert!((found - value).abs() < 1e-9, "{what:?}: {found}");
        }
        for (mode, is_fix) in [
            ("A", true),
            ("D", true),
            ("N", false),
            ("E", false),
            ("S", false),
            ("M", false),
        ] {
            let body = format!("GNRMC,1,A,4807.038,N,01131.000,E,022.4,084.4,230394,,,{mode}");
            let found = quantity(&sealed(&body), Quantity::Latitude).unwrap();
            assert_eq!(found.is_ok(), is_fix, "{mode}");
        }
        for (quality, is_fix) in [
            ("0", false),
            ("1", true),
            ("4", true),
            ("6", false),
            ("8", false),
        ] {
            let body = format!("GPGGA,1,4807.038,N,01131.000,E,{quality},08,0.9,545.4,M,46.9,M,,");
            let found = quantity(&sealed(&body), Quantity::Latitude).unwrap();
            assert_eq!(found.is_ok(), is_fix, "{quality}");
        }
        let speed = quantity(rmc, Quantity::Speed).unwrap().unwrap();
        assert!((speed - 11.523_555).abs() < 1e-5, "{speed}");
        let south = sealed("GNGLL,0130.0000,S,15000.0000,W,000000,A");
        assert_eq!(quantity(&south, Quantity::Latitude), Some(Ok(-1.5)));
        assert_eq!(quantity(&south, Quantity::Longitude), Some(Ok(-150.0)));
        assert_eq!(
            quantity(&sealed("IIHDT,274.1,T"), Quantity::Heading),
            Some(Ok(274.1))
        );
        assert_eq!(
            quantity(&sealed("SDDBT,12.3,f,3.7,M,2.0,F"), Quantity::Depth),
            Some(Ok(3.7))
        );
        assert_eq!(quantity(gga, Quantity::Speed), None);
    }

    #[test]
    fn a_receiver_without_a_position_says_so() {
        let void = sealed("GPRMC,123519,V,,,,,,,230394,,");
        let none = sealed("GPGGA,123519,,,,,0,00,,,M,,M,,");
        for line in [&void, &none] {
            let why = quantity(line, Quantity::Latitude).unwrap().unwrap_err();
            assert!(why.contains("no position of its own"), "{why}");
        }
        assert_eq!(quantity(&none, Quantity::Satellites), Some(Ok(0.0)));
        for odd in [
            "GPGLL,9130.0,N,00000.0,E,0,A",
            "GPGLL,4860.0,N,00000.0,E,0,A",
            "GPGLL,4807.0,X,0,E,0,A",
            "GPGLL,7,N,,E,0,A",
            "GPGLL,-107.0,N,0,E,0,A",
        ] {
            assert!(
                quantity(&sealed(odd), Quantity::Latitude).unwrap().is_err(),
                "{odd}"
            );
        }
    }

    #[test]
    fn a_checksum_is_needed_and_has_to_be_right() {
        assert!(Sentence::of("no sentence").is_none());
        for bad in [
            "$GPGLL,1,N",
            "$GPGLL,1,N*00",
            "$GPGLL,1,N*4",
            "$GPGLL,1,N*+4",
            "$GPGLL*ü",
            "$*",
        ] {
            assert!(Sentence::of(bad).unwrap().is_err(), "{bad}");
        }
        let line = sealed("PGRME,15.0,M");
        let own = Sentence::of(&line).unwrap().unwrap();
        assert_eq!(
            (own.kind, own.field(1), own.field(0)),
            ("PGRME", Some("15.0"), None)
        );
    }
}
