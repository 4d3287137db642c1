using Explorer.Scheduling;
using Explorer.Scripts;
using Harness.Scenarios;

namespace Explorer.Campaigns;

/// <summary>
/// Makes a failing script small: leaves out threads, operations and steps, then makes what is left simpler, until nothing more can be left out. The schedule
/// cannot be kept, so each candidate must fail in one of a few schedules of its own.
/// </summary>
/// <param name="found">What failed.</param>
/// <param name="script">Its script.</param>
/// <param name="stop">Asked before each schedule; true ends the search.</param>
internal sealed class ScriptShrinker(FoundFailure found, Script script, Func<bool>? stop)
{
    /// <summary>How many schedules it may try in all, and how many decisions there may be in them: for scripts that are long.</summary>
    public const int ScheduleLimit = 8000, StepLimit = 800_000;

    // A candidate that needs as many schedules as the last that failed fails in so many with near certainty.
    private const int LeastPerCandidate = 24, MostPerCandidate = 96, Patience = 6;

    // What was not found to fail by bad luck gets a second chance.
    private const int Chances = 2;

    private static readonly (Strategy Strategy, int Bound)[] Strategies =
        [(Strategy.Probabilistic, 3), (Strategy.Prioritization, 3), (Strategy.DelayBounding, 3), (Strategy.Random, 0)];

    private readonly HashSet<string> _tried = [];
    private readonly FoundFailure _found = found;
    private FoundFailure _best = found;
    private readonly string _summary = $"{script.Summary}; shrunk from {ScriptSize.Of(script.Scenario)}";
    private Script _script = script;
    private int _left = ScheduleLimit;
    private long _stepsLeft = StepLimit;
    private int _likely;
    private int _perCandidate = MostPerCandidate;
    private uint _explorations;
    private int _chance;

    /// <summary>The smallest that is found.</summary>
    public FoundFailure Shrink()
    {
        for (_chance = 1; _chance <= Chances; _chance++)
        {
            _tried.Clear();
            bool isSmaller = true;
            while (isSmaller && !IsOver)
            {
                isSmaller = DropThreads();
                isSmaller |= Drop(static scenario => scenario.Threads.Sum(static thread => thread.Length), ScriptCuts.WithoutOperations);
                isSmaller |= TryAll(ScriptCuts.WithFirstBefore);
                isSmaller |= Drop(static scenario => scenario.Steps.Length, ScriptCuts.WithoutSteps);
                isSmaller |= TryAll(ScriptSimplifications.Of);
            }
        }

        return _best;
    }

    private Scenario Now => _script.Scenario;

    private bool IsOver => _left <= 0 || _stepsLeft <= 0 || (stop is not null && stop());

    private bool DropThreads()
    {
        bool isSmaller = DropWhatHadNotBegun();
        // The one that acted last, and saw it, can hardly go.
        for (int thread = Now.Threads.Length - 1; thread >= 0; thread--)
        {
            if (thread < Now.Threads.Length && _script.Agents[thread] != Witness) isSmaller |= Try(ScriptCuts.WithoutThread(Now, thread));
        }

        return isSmaller | TryAll(_ => ScriptCuts.WithThreadsJoined(_script, _best.Failure.Attempt.Events));
    }

    private string? Witness => _best.Failure.Attempt.Events.LastOrDefault(static e => e.Agent != Attempt.SetUpAgent).Agent;

    /// <summary>Leaves out runs of what there is, long ones first, late ones first.</summary>
    private bool Drop(Func<Scenario, int> count, Func<Scenario, int, int, Scenario?> without)
    {
        bool isSmaller = false;
        for (int length = Math.Max(1, count(Now) / 2); length >= 1; length /= 2)
        {
            for (int at = count(Now) - length; at >= 0; at -= length)
            {
                if (at + length <= count(Now)) isSmaller |= Try(without(Now, at, length));
            }
        }

        return isSmaller;
    }

    private bool TryAll(Func<Scenario, IEnumerable<Scenario>> smaller)
    {
        bool isSmaller = false;
        Scenario[] candidates = [.. smaller(Now)];
        for (int i = 0; i < candidates.Length && !IsOver; i++)
        {
            if (!Try(candidates[i])) continue;
            isSmaller = true;
            // What comes before was tried, and is once more when all has been.
            candidates = [.. smaller(Now)];
        }

        return isSmaller;
    }

    private bool DropWhatHadNotBegun() => Try(ScriptCuts.ToBegun(_script, _best.Failure.Attempt.Events));

    private bool Try(Scenario? candidate)
    {
        if (candidate is null || IsOver || ScriptSize.Of(candidate).CompareTo(ScriptSize.Of(Now)) > 0) return false;
        if (candidate == Now || !_tried.Add(candidate.ToJson().ToJsonString()) || !ScriptLimits.Allow(candidate)) return false;
        Script smaller = new(_script.Name, _summary, candidate, []);
        if (Search(smaller) is not { } failure) return false;
        _script = smaller;
        _best = failure;
        DropWhatHadNotBegun();
        return true;
    }

    /// <summary>A schedule of the candidate that breaks the same, or null.</summary>
    private FoundFailure? Search(Script candidate)
    {
        FoundFailure running = _found with { Scenario = candidate.ToScenario() };
        int limit = Math.Min(_left, _perCandidate * _chance), run = 0;
        for (int turn = 0; turn < Strategies.Length && run < limit; turn++)
        {
            // What found the last comes first.
            int which = (_likely + turn) % Strategies.Length;
            var plan = new ExplorationPlan(Strategies[which].Strategy, unchecked(_found.Plan.Seed + 7919 * ++_explorations) & int.MaxValue, Math.Min(limit - run, (limit + 1) / 2 / (1 + turn) + 1))
            {
                Bound = Strategies[which].Bound,
                Stop = stop,
                Muted = _found.Plan.Muted,
            };
            Exploration result = Controlled.Explore(plan, attempt => running.Scenario.Run(attempt, running.Fault));
            run += Math.Max(1, result.Schedules);
            _left -= Math.Max(1, result.Schedules);
            _stepsLeft -= result.Steps;
            if (result.Failure is not { } failure || !Shrinker.IsSame(failure.Violation, _found.Failure.Violation) || !Shrinker.HasRun(failure)) continue;
            _likely = which;
            _perCandidate = Math.Clamp(Patience * run, LeastPerCandidate, MostPerCandidate);
            return running with { Plan = plan, Failure = failure };
        }

        return null;
    }
}
