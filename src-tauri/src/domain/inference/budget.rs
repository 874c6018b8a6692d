//! What a model may use in a day, in tokens and in money, and what it has used. The whole of what a request may take is
//! counted before it is sent, and corrected when its reply has ended: a crash counts too much, never too little.

use serde::{Deserialize, Serialize};

use super::super::base::TimeMs;
use super::{InferenceRequest, Message, Usage};

/// A day, in milliseconds.
const DAY_MS: u64 = 86_400_000;
/// Bytes of text that are counted as one token where a server does not say: few, so that the count is no lower than the
/// real one for most languages.
const BYTES_PER_TOKEN: u64 = 3;

/// What a million tokens cost, in millionths of the currency that the operator reckons in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Price {
    /// A million tokens read.
    pub input_micros: u64,
    /// A million tokens written.
    pub output_micros: u64,
}

impl Price {
    /// What this much costs, rounded up, in millionths.
    pub fn of(self, usage: &Usage) -> u64 {
        let cost = u128::from(usage.input_tokens) * u128::from(self.input_micros)
            + u128::from(usage.output_tokens) * u128::from(self.output_micros);
        u64::try_from(cost.div_ceil(1_000_000)).unwrap_or(u64::MAX)
    }
}

/// What a model may use in a day (UTC); nothing where there is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Budget {
    /// Tokens, read and written.
    pub tokens: Option<u64>,
    /// Money, in millionths.
    pub micros: Option<u64>,
}

/// What a model has used on a day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Spent {
    /// The day, counted from the first of January 1970 (UTC).
    pub day: u64,
    /// Requests.
    pub requests: u64,
    /// Tokens, read and written.
    pub tokens: u64,
    /// Money, in millionths.
    pub micros: u64,
}

impl Spent {
    /// Begins a new day where one has begun. A clock that was set back gives nothing back.
    #[must_use]
    pub fn at(self, now: TimeMs) -> Self {
        let day = now.0 / DAY_MS;
        match day > self.day {
            true => Self {
                day,
                ..Self::default()
            },
            false => self,
        }
    }

    /// When its day ends.
    pub fn ends(self) -> TimeMs {
        TimeMs(self.day.saturating_add(1).saturating_mul(DAY_MS))
    }

    /// Counts a request with the most it may take.
    pub fn reserve(&mut self, most: &Usage, price: Price) {
        self.requests = self.requests.saturating_add(1);
        self.tokens = self.tokens.saturating_add(total(most));
        self.micros = self.micros.saturating_add(price.of(most));
    }

    /// Counts what a request took in the place of the most it might have taken. Where it was reserved on a day before
    /// this one, nothing is given back.
    pub fn settle(&mut self, day: u64, most: &Usage, took: &Usage, price: Price) {
        if self.day == day {
            self.tokens = self.tokens.saturating_sub(total(most));
            self.micros = self.micros.saturating_sub(price.of(most));
            self.tokens = self.tokens.saturating_add(total(took));
            self.micros = self.micros.saturating_add(price.of(took));
        }
    }
}

fn total(usage: &Usage) -> u64 {
    usage.input_tokens.saturating_add(usage.output_tokens)
}

impl Budget {
    /// Whether one more request may be sent.
    ///
    /// # Errors
    /// A sentence that says which budget it would go over.
    pub fn allows(&self, spent: &Spent, most: &Usage, price: Price) -> Result<(), String> {
        if let Some(limit) = self.tokens {
            let after = spent.tokens.saturating_add(total(most));
            if after > limit {
                return Err(format!(
                    "its budget of {limit} tokens a day is used up: {} are used, and this question may take {} more; it \
                     starts again at midnight UTC, or raise tokens_per_day",
                    spent.tokens,
                    total(most)
                ));
            }
        }
        if let Some(limit) = self.micros {
            let after = spent.micros.saturating_add(price.of(most));
            if after > limit {
                return Err(format!(
                    "its budget of {} a day is used up: {} is spent, and this question may cost {} more; it starts again \
                     at midnight UTC, or raise money_per_day",
                    money(limit),
                    money(spent.micros),
                    money(price.of(most))
                ));
            }
        }
        Ok(())
    }
}

/// An amount of money as people read it.
pub fn money(micros: u64) -> String {
    let (whole, part) = (micros / 1_000_000, micros % 1_000_000);
    let digits = format!("{part:06}");
    let kept = digits.trim_end_matches('0');
    format!("{whole}.{kept:0<2}")
}

/// The tokens of a text, estimated.
pub fn tokens_of(bytes: usize) -> u64 {
    u64::try_from(bytes)
        .unwrap_or(u64::MAX)
        .div_ceil(BYTES_PER_TOKEN)
}

/// The most a request may take, estimated from its length.
pub fn most_of(request: &InferenceRequest) -> Usage {
    let message = |message: &Message| match message {
        Message::System(text) | Message::User(text) | Message::Tool { text, .. } => text.len(),
        Message::Assistant { text, calls } => {
            let calls = calls.iter().map(|c| c.name.len() + c.arguments.len());
            text.len() + calls.sum::<usize>()
        }
    };
    let text: usize = request.messages.iter().map(message).sum();
    let tools = request.tools.iter();
    let tools = tools.map(|t| t.name.len() + t.description.len() + t.parameters.to_string().len());
    let schema = request.schema.as_ref().map_or(0, |s| s.to_string().len());
    Usage {
        input_tokens: tokens_of(text + tools.sum::<usize>() + schema),
        output_tokens: u64::from(request.max_output_tokens),
        cut: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(input_tokens: u64, output_tokens: u64) -> Usage {
        Usage {
            input_tokens,
            output_tokens,
            cut: false,
        }
    }

    const PRICE: Price = Price {
        input_micros: 3_000_000,
        output_micros: 15_000_000,
    };

    #[test]
    fn money_is_reckoned_in_millionths_and_rounded_up() {
        assert_eq!(PRICE.of(&usage(1_000, 100)), 3_000 + 1_500);
        let cheap = Price {
            input_micros: 1,
            output_micros: 0,
        };
        assert_eq!(cheap.of(&usage(1, 0)), 1);
        assert_eq!(
            (money(1_500_000), money(4_500), money(0)),
            ("1.50".to_owned(), "0.0045".to_owned(), "0.00".to_owned())
        );
    }

    #[test]
    fn what_a_request_may_take_is_counted_before_and_what_it_took_after() {
        let budget = Budget {
            tokens: Some(1_000),
            micros: None,
        };
        let mut spent = Spent::default().at(TimeMs(DAY_MS));
        let most = usage(300, 600);
        assert_eq!(budget.allows(&spent, &most, PRICE), Ok(()));
        spent.reserve(&most, PRICE);
        let refused = budget.allows(&spent, &most, PRICE).unwrap_err();
        assert!(refused.contains("1000 tokens a day"), "{refused}");
        spent.settle(1, &most, &usage(20, 30), PRICE);
        assert_eq!((spent.tokens, spent.requests), (50, 1));
        assert_eq!(spent.micros, PRICE.of(&usage(20, 30)));
        assert_eq!(budget.allows(&spent, &most, PRICE), Ok(()));
    }

    #[test]
    fn a_new_day_starts_at_nothing_and_a_clock_set_back_gives_nothing_back() {
        let mut spent = Spent::default().at(TimeMs(5 * DAY_MS));
        spent.reserve(&usage(10, 10), PRICE);
        assert_eq!(spent.at(TimeMs(4 * DAY_MS)), spent);
        assert_eq!(spent.at(TimeMs(5 * DAY_MS + 1)), spent);
        let next = spent.at(TimeMs(6 * DAY_MS));
        assert_eq!((next.day, next.tokens), (6, 0));
        let mut next = next;
        next.settle(5, &usage(10, 10), &usage(1, 1), PRICE);
        assert_eq!(next.tokens, 0, "yesterday's request changes nothing today");
    }

    #[test]
    fn money_is_a_budget_too() {
        let budget = Budget {
            tokens: None,
            micros: Some(4_499),
        };
        let refused = budget.allows(&Spent::default(), &usage(1_000, 100), PRICE);
        assert!(refused.is_err_and(|why| why.contains("0.004499")));
    }
}
