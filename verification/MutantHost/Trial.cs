namespace MutantHost;

/// <summary>What a process came to that tried a mutant.</summary>
/// <param name="Passed">The tests that passed, in the order in which they ran.</param>
/// <param name="Failed">The test that found the mutant; null if none did.</param>
/// <param name="IsEndless">Whether that test does not end.</param>
/// <param name="IsOver">Whether the process must not try another mutant.</param>
internal sealed record Verdict(IReadOnlyList<string> Passed, string? Failed, bool IsEndless, bool IsOver);

/// <summary>
/// Tries one mutant. The process may have tried others, and what is static may hold what one of them left, or what was made while this one was not active.
/// So a mutant is found only where a new process would find it, too. That what is static hides one is possible: then it counts as survived.
/// </summary>
/// <param name="isUsed">Whether tests ran in this process before.</param>
/// <param name="run">Runs a test with a mutant active, or <see cref="ActiveMutant.None"/>.</param>
internal sealed class Trial(bool isUsed, Func<int, string, Outcome> run)
{
    /// <summary>Runs tests until one finds the mutant.</summary>
    /// <param name="mutant">The mutant.</param>
    /// <param name="tests">In this order.</param>
    /// <param name="isOfStatics">Whether the mutant is in what runs once in a process.</param>
    /// <returns>Null: another process has to say.</returns>
    public Verdict? Of(int mutant, IReadOnlyList<string> tests, bool isOfStatics)
    {
        // It shows only where no static has been initialized yet, and stays.
        if (isOfStatics && isUsed) return null;
        List<string> passed = [];
        foreach (string test in tests)
        {
            Outcome outcome = run(mutant, test);
            if (outcome == Outcome.Endless) return Endless(passed, test);
            if (outcome == Outcome.Interrupted) return Passes(test) ? new(passed, test, IsEndless: true, IsOver: isOfStatics) : Endless(passed, test);
            if (outcome == Outcome.Failed) return Found(passed, test, isOfStatics);
            passed.Add(test);
        }

        return new(passed, null, IsEndless: false, IsOver: isOfStatics);
    }

    private Verdict? Found(IReadOnlyList<string> passed, string test, bool isOfStatics)
    {
        // It is this mutant's doing if the test passes without it. Else something was left behind, by this one only if it is the first here.
        bool passes = Passes(test);
        return !passes && isUsed ? null : new(passed, test, IsEndless: false, IsOver: !passes || isOfStatics);
    }

    private static Verdict Endless(IReadOnlyList<string> passed, string test) => new(passed, test, IsEndless: true, IsOver: true);

    private bool Passes(string test) => run(ActiveMutant.None, test) == Outcome.Passed;
}
