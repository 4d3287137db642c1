using System.Runtime.CompilerServices;
using Explorer.Campaigns;
using Explorer.Faults;
using Explorer.Reporting;
using Explorer.Scenarios;
using Explorer.Scheduling;
using Explorer.Scheduling.Choosers;
using Explorer.Scripts;
using Harness;
using Harness.Failures;
using Harness.Schedules;

namespace Explorer.Worker;

/// <summary>Explores or replays, and says what happens.</summary>
/// <param name="say">Takes each message.</param>
/// <param name="stop">True once whoever listens has had enough.</param>
internal sealed class ScheduleWorker(Action<WorkerMessage> say, Func<bool> stop)
{
    private const int SchedulesBetweenMessages = 256;

    /// <summary>What stands in the place of a strategy where every schedule is run.</summary>
    private const string Everything = "every schedule";

    /// <summary>
    /// Round after round, each of every scenario that has not failed yet, so that all get the same number of schedules.
    /// </summary>
    public void Explore(WorkerOptions options)
    {
        var plan = new CampaignPlan(options.Seed) { SchedulesPerRound = options.SchedulesPerRound, Stop = stop, Muted = options.Muted };
        if (options.Strategies.Count != 0) plan = plan with { Strategies = options.Strategies };
        // A generated scenario does not come again, and its campaign goes with it.
        var campaigns = new ConditionalWeakTable<ConcurrentScenario, Campaign>();
        long left = options.Schedules == 0 ? long.MaxValue : options.Schedules;
        int rounds = options.Rounds == 0 ? int.MaxValue : options.Rounds;
        for (int i = 0, round = options.FirstRound; i < rounds; i++, round += options.RoundStep)
        {
            bool isAnyLeft = false;
            foreach (Turn turn in options.Scenarios.Of(options.Seed, round))
            {
                if (left == 0 || stop()) return;
                Campaign campaign = campaigns.GetValue(turn.Scenario, it => new(it, options.Fault, plan));
                if (campaign.Failure is not null) continue;
                isAnyLeft = true;
                left -= ExploreRound(campaign, turn.Round, (long)turn.Earlier * options.SchedulesPerRound, left, options.Shrinks);
            }

            if (!isAnyLeft) return;
        }
    }

    /// <summary>Of one scenario after the other every schedule with so many interruptions.</summary>
    /// <param name="options">Which: those of the first round, of which the worker has each so many-th.</param>
    /// <param name="preemptions">How many interruptions.</param>
    public void Exhaust(WorkerOptions options, int preemptions)
    {
        var plan = new CampaignPlan(options.Seed) { Stop = stop, Muted = options.Muted };
        long left = options.Schedules == 0 ? long.MaxValue : options.Schedules;
        ConcurrentScenario[] scenarios = [.. options.Scenarios.Of(options.Seed, 0).Select(static turn => turn.Scenario)];
        for (int i = options.FirstRound; i < scenarios.Length; i += options.RoundStep)
        {
            var campaign = new Campaign(scenarios[i], options.Fault, plan);
            var search = new BoundedSearch(preemptions);
            for (int round = 0; campaign.Failure is null && !search.IsDone && left > 0 && !stop(); round++)
            {
                RoundResult result = campaign.Exhaust(search, (int)Math.Min(left, SchedulesBetweenMessages));
                left -= result.Totals.Schedules;
                Tell(campaign, round, Everything, result);
            }

            if (campaign.Failure is { } failure) say(Message(failure, Everything, campaign.Totals.Schedules));
            else if (search.IsDone) say(new ExhaustedMessage(campaign.Scenario.Name, preemptions));
        }
    }

    /// <summary>Runs the schedule in a file.</summary>
    /// <param name="path">The file.</param>
    /// <param name="whole">Whether steps that do not matter are shown, too.</param>
    /// <param name="withPage">Whether to say it as a page for a browser, too.</param>
    public void Replay(string path, bool whole, bool withPage)
    {
        FoundFailure? found = FailureReport.Replay(FailureFile.Parse(Read(path)));
        if (found is null) say(new CleanMessage());
        else say(Message(found, found.Plan.Strategy.ToString(), 0, whole) with { Page = withPage ? Page.Make(found) : null });
    }

    /// <summary>Says what there is.</summary>
    public void List() => say(new CatalogueMessage(
        [.. ConcurrentScenario.All.Select(Entry)], [.. ScriptLibrary.All.Select(Entry)],
        [.. Enum.GetValues<Strategy>().Select(static strategy => new CatalogueEntry(strategy.ToString(), Names.Summary(strategy)))],
        [.. PlantedFault.All.Select(static fault => new CatalogueEntry(fault.Name, $"{fault.Summary} ({fault.Scenario})"))]));

    private static CatalogueEntry Entry(ConcurrentScenario scenario) => new(scenario.Name, scenario.Summary);

    /// <summary>Explores a round.</summary>
    /// <param name="campaign">Of which scenario.</param>
    /// <param name="round">Its own number of the round.</param>
    /// <param name="earlier">How many schedules of the scenario come before.</param>
    /// <param name="left">How many schedules the worker may still run.</param>
    /// <param name="shrinks">Whether a failure is shrunk.</param>
    /// <returns>How many ran.</returns>
    private long ExploreRound(Campaign campaign, int round, long earlier, long left, bool shrinks)
    {
        RoundResult result = campaign.Run(round, (int)Math.Min(left, int.MaxValue));
        Tell(campaign, round, result.Plan.Strategy.ToString(), result);
        // The one that is easier to read may be another strategy's.
        if (campaign.Failure is { } failure) say(Message(shrinks ? Shrinker.Shrink(failure, stop) : failure, failure.Plan.Strategy.ToString(), earlier + result.Totals.Schedules));
        return result.Totals.Schedules;
    }

    private static FailureMessage Message(FoundFailure found, string strategy, long schedule, bool whole = false) => new(
        found.Scenario.Name, strategy, schedule, found.Failure.Violation.Invariant, found.Failure.Violation.Observed, found.Failure.Violation.Expected,
        FailureReport.Print(found, whole), FailureReport.ToFile(found).ToString())
    {
        Size = FailureReport.SizeOf(found),
    };

    private void Tell(Campaign campaign, int round, string strategy, RoundResult result) => say(new RoundMessage(
        campaign.Scenario.Name, round, strategy, result.Plan.Seed, result.Totals.Schedules, result.Totals.Steps, result.Totals.Checks,
        result.Totals.Reached, result.NewBehaviours) { Muted = result.Totals.Muted });

    private static string Read(string path)
    {
        try
        {
            return File.ReadAllText(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new BadInputException($"{path} cannot be read: {e.Message}");
        }
    }
}
