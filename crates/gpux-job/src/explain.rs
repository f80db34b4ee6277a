//! A job in words, for a person who decides whether to pay for it.

use crate::{
    job::{Array, AtZero, Job, RetryOn, Work},
    text::printable,
};
use std::{fmt, fmt::Write};

impl Job {
    /// What the job will do, a line for each fact, without its cost: prices are the plan's.
    #[must_use]
    pub fn explain(&self) -> String {
        let mut text = String::new();
        // Writing into a text cannot fail.
        let _ = self.write_into(&mut text);
        text
    }

    fn write_into(&self, out: &mut String) -> fmt::Result {
        writeln!(out, "{}: {}", self.name, self.shape_text())?;
        let mut fact = |name: &str, text: &str| writeln!(out, "  {name:<11} {}", printable(text));
        let resources = &self.resources;
        let (cpu, memory, disk) = (resources.cpu, resources.memory.exact(), resources.disk.exact());
        fact(
            "each node",
            &format!("{cpu} CPU, {memory} of memory, {disk} of disk, at least"),
        )?;
        if let Some(gpu) = &self.gpu {
            fact("", &format!("{gpu}, at least"))?;
        }
        let placement = self.placement.facts();
        if !placement.is_empty() {
            fact("placement", &placement.join(", "))?;
        }
        fact("image", &self.image.to_string())?;
        for input in &self.inputs {
            fact(
                "input",
                &format!("{}: {} as {}", input.name, input.path.display(), input.to),
            )?;
        }
        for (name, value) in &self.params {
            fact("param", &format!("{name}: {value:?}"))?;
        }
        if let Some(preflight) = &self.preflight {
            fact(
                "first",
                &format!("{preflight}, on this machine, before any money moves"),
            )?;
        }
        match &self.work {
            Work::Array(array) => fact("each part", &self.part_text(array))?,
            Work::Task(_) => fact("run", &format!("{}, once on each node", self.run))?,
        }
        if let Some(collect) = self.work.collect() {
            fact("collect", &collect.to_string())?;
        }
        if let Some(verify) = self.verify_text() {
            fact("verify", &verify)?;
        }
        if let Some(then) = &self.then {
            fact("then", &format!("{then}, on this machine, over what was collected"))?;
        }
        fact("retry", &self.retry_text())?;
        fact("limits", &self.limits_text())?;
        if let Some(builder) = &self.builder {
            fact(
                "builder",
                &format!("{} earns {}", builder.address, percent(builder.share.points())),
            )?;
        }
        Ok(())
    }

    /// How many containers run where.
    fn shape_text(&self) -> String {
        let nodes = count(self.nodes.get(), "node");
        match &self.work {
            Work::Array(array) => format!("{} over {nodes}", count(array.part_count(), "part")),
            Work::Task(_) if self.is_gang() => format!("a task on {nodes}, which start together or not at all"),
            Work::Task(_) => format!("a task on {nodes}"),
        }
    }

    fn part_text(&self, array: &Array) -> String {
        let share = match array.chunk.get() {
            1 => "one".to_owned(),
            most => format!("up to {most} in a row"),
        };
        format!(
            "{}, on a node, for {share} of {} {}",
            self.run, array.over, array.values
        )
    }

    fn verify_text(&self) -> Option<String> {
        let Work::Array(array) = &self.work else { return None };
        let sample = array.verify?.sample;
        let most = count(array.checks_at_most(self.nodes.get()), "part");
        Some(format!(
            "{sample} of each node's results, drawn when all are in, run again on another: at most {most} more"
        ))
    }

    fn retry_text(&self) -> String {
        let causes: Vec<_> = self.retry.on.iter().map(|on| on.text()).collect();
        if causes.is_empty() || self.retry.max == 0 {
            return "never".to_owned();
        }
        let what = match &self.work {
            Work::Array(_) => "a part",
            Work::Task(_) if self.is_gang() => "all nodes together",
            Work::Task(_) => "the task",
        };
        format!("{what} at most {} times, after {}", self.retry.max, causes.join(" or "))
    }

    fn limits_text(&self) -> String {
        let budget = &self.budget;
        let price = budget.max_price.as_ref().map(|price| format!("{price} for each node"));
        let total = budget.max_total.as_ref().map(|total| format!("{total} in all"));
        let duration = Some(format!("{} for each lease", budget.max_duration));
        let added = "topped up by itself until then".to_owned();
        let added = (budget.at_zero == AtZero::TopUp).then_some(added);
        let limits: Vec<_> = [price, total, added, duration].into_iter().flatten().collect();
        limits.join(", ")
    }
}

impl RetryOn {
    const fn text(self) -> &'static str {
        match self {
            Self::ProviderFault => "a fault of the provider",
            Self::Error => "an error of the command",
        }
    }
}

fn count(number: u32, noun: &str) -> String {
    if number == 1 {
        format!("1 {noun}")
    } else {
        format!("{number} {noun}s")
    }
}

/// Basis points as a person writes them: `5%`, `2.5%`.
fn percent(points: u16) -> String {
    let text = format!("{}.{:02}", points / 100, points % 100);
    format!("{}%", text.trim_end_matches('0').trim_end_matches('.'))
}
