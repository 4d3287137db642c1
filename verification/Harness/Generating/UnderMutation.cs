namespace Harness.Generating;

/// <summary>
/// Whether Stryker.NET runs these tests: it sets <c>STRYKER_MUTANT_ID_CONTROL_VAR</c> in the processes of the tests. Then a test that fails has done
/// its work, and a smaller counterexample would be looked for in vain thousands of times.
/// </summary>
public static class UnderMutation
{
    private const string SetByStryker = "STRYKER_MUTANT_ID_CONTROL_VAR";

    /// <summary>Whether it does.</summary>
    public static bool IsOn { get; } = Environment.GetEnvironmentVariable(SetByStryker) is not null;
}
