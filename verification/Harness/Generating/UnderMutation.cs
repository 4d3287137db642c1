namespace Harness.Generating;

/// <summary>
/// Whether Stryker.NET runs these tests: it sets <c>STRYKER_MUTANT_FILE</c> in the processes of the tests, or with
/// VSTest <c>STRYKER_MUTANT_ID_CONTROL_VAR</c>. Then a test that fails has done
/// its work, and a smaller counterexample would be looked for in vain thousands of times.
/// </summary>
public static class UnderMutation
{
    private static readonly string[] SetByStryker = ["STRYKER_MUTANT_FILE", "STRYKER_MUTANT_ID_CONTROL_VAR"];

    /// <summary>Whether it does.</summary>
    public static bool IsOn { get; } = Array.Exists(SetByStryker, static variable => Environment.GetEnvironmentVariable(variable) is not null);
}
