using Harness.Generating;
using Xunit.Abstractions;

namespace TestRunner;

/// <summary>Whether a test generates what it checks.</summary>
internal static class Generated
{
    /// <summary>How often samples were drawn in this process.</summary>
    public static long Count => Seeded.CheckCount;

    /// <summary>Whether that test does: it is a property of FsCheck, or it drew samples.</summary>
    /// <param name="test">The test.</param>
    /// <param name="drawn">How often samples had been drawn when it began.</param>
    public static bool Is(ITestCase test, long drawn) => test.GetType().Assembly.GetName().Name == "FsCheck.Xunit" || Count != drawn;
}
