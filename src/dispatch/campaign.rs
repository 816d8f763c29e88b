//! A campaign as its sender's desk knows it: what it says, how fast, and when.

use std::collections::HashMap;
use std::sync::Arc;

use time::OffsetDateTime;

use crate::domain::placeholders::{Template, Variables};
use crate::store::campaign_work::{Lane, UnreadLane};

/// The variable that tells a recipient's time zone, by its IANA name.
const TIME_ZONE: &str = "time_zone";

/// A campaign that runs.
#[derive(Debug)]
pub struct Campaign {
    /// Its settings.
    pub lane: Lane,
    /// What it says.
    pub content: Arc<Content>,
}

/// What a campaign says.
#[derive(Debug)]
pub struct Content {
    /// As it was written: it names the template.
    pub payload: String,
    template: Template,
}

/// A campaign that cannot be read, or whose content is no template: only SQL can have written it.
#[derive(Debug)]
pub struct Unusable {
    /// Its number.
    pub campaign: i64,
    /// In words.
    pub why: String,
}

impl From<UnreadLane> for Unusable {
    fn from(lane: UnreadLane) -> Self {
        let UnreadLane { campaign, why } = lane;
        Self { campaign, why }
    }
}

/// Campaigns that run, read once and kept: their content does not change.
#[derive(Debug, Default)]
pub struct Campaigns(HashMap<i64, Arc<Content>>);

impl Campaigns {
    /// The campaigns of these lanes; and those that cannot be worked, with the reason in words.
    pub fn of(&mut self, lanes: Vec<Lane>) -> (Vec<Arc<Campaign>>, Vec<Unusable>) {
        self.0
            .retain(|id, _| lanes.iter().any(|lane| lane.campaign == *id));
        let (mut campaigns, mut unusable) = (Vec::new(), Vec::new());
        for lane in lanes {
            let campaign = lane.campaign;
            match self.campaign(lane) {
                Ok(campaign) => campaigns.push(Arc::new(campaign)),
                Err(why) => unusable.push(Unusable {
                    campaign,
                    why: format!("its template cannot be used: {why}"),
                }),
            }
        }
        (campaigns, unusable)
    }

    fn campaign(&mut self, lane: Lane) -> Result<Campaign, String> {
        let known = self.0.get(&lane.campaign);
        let content = match known.filter(|content| content.payload == lane.payload) {
            Some(content) => Arc::clone(content),
            None => {
                let content = Arc::new(Content::of(&lane.payload)?);
                self.0.insert(lane.campaign, Arc::clone(&content));
                content
            }
        };
        Ok(Campaign { lane, content })
    }
}

impl Campaign {
    #[cfg(test)]
    pub(super) fn of(lane: Lane) -> Self {
        let content = Content::of(&lane.payload).expect("a template");
        Self {
            content: Arc::new(content),
            lane,
        }
    }

    /// Messages a second at most, where the campaign has a limit of its own.
    pub fn limit(&self, sender_rate: f64, wall: OffsetDateTime) -> Option<f64> {
        let share = self.lane.rate_share;
        let ramp = self.lane.ramp.as_ref().and_then(|ramp| {
            let elapsed = wall - self.lane.began_at;
            ramp.rate_per_second(elapsed.try_into().unwrap_or_default())
        });
        [
            (share < 1.0).then_some(sender_rate * share),
            self.lane.max_per_second,
            ramp,
        ]
        .into_iter()
        .flatten()
        .min_by(f64::total_cmp)
    }

    /// Until when a recipient is not to be disturbed; none: now is good.
    pub fn quiet_until(
        &self,
        recipient: &str,
        variables: Option<&str>,
        wall: OffsetDateTime,
    ) -> Option<OffsetDateTime> {
        let quiet = self.lane.quiet.as_ref()?;
        let variables = variables.and_then(|json| Variables::parse(json).ok());
        let zone = variables
            .and_then(|variables| variables.get(TIME_ZONE).map(str::to_owned))
            .and_then(|json| serde_json::from_str::<String>(&json).ok());
        let at = quiet.next_allowed(wall, recipient, zone.as_deref());
        (at > wall).then_some(at)
    }
}

impl Content {
    fn of(payload: &str) -> Result<Self, String> {
        let template = Template::parse(payload).map_err(in_words)?;
        // A template is held, and told of by WhatsApp, by these. The database refuses it; what it took before it did is not sent.
        let names = [
            "/template",
            "/template/name",
            "/template/language",
            "/template/language/code",
        ];
        for place in template.placeholders() {
            let pointer = &place.pointer;
            if names.contains(&pointer.as_str()) {
                return Err(format!(
                    "{pointer} is a variable; make a campaign for each template and language"
                ));
            }
        }
        Ok(Self {
            payload: payload.to_owned(),
            template,
        })
    }

    /// What is sent to one recipient.
    ///
    /// # Errors
    /// In words, which variable is missing or of no use, and where it is wanted.
    pub fn fill(&self, variables: Option<&str>) -> Result<String, String> {
        let variables = Variables::parse(variables.unwrap_or("{}")).map_err(in_words)?;
        self.template.fill(&variables).map_err(in_words)
    }
}

fn in_words(error: impl ToString) -> String {
    error.to_string()
}
