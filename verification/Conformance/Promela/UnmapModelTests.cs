using System.Globalization;
using System.Text.RegularExpressions;

namespace Conformance.Promela;

/// <summary>
/// The protocol of unmapping as a model that shares nothing with the others, searched by SPIN over all interleavings: the right order
/// is right, and each wrong order that it names has a counterexample.
/// </summary>
[Trait("Category", "Broad")]
public sealed partial class UnmapModelTests
{
    private const string Macro = "WRONG";

    private static readonly string Model = Path.Combine(AppContext.BaseDirectory, "unmap.pml");

    /// <summary>Name and number of each wrong order, as the model defines them.</summary>
    public static TheoryData<string, int> WrongOrders
    {
        get
        {
            var orders = new TheoryData<string, int>();
            foreach (Match match in Definition().Matches(File.ReadAllText(Model)))
                orders.Add(match.Groups[1].Value, int.Parse(match.Groups[2].Value, CultureInfo.InvariantCulture));
            return orders;
        }
    }

    [Fact]
    public void The_wrong_orders_are_numbered_from_1() =>
        Assert.Equal(Enumerable.Range(1, 10), WrongOrders.Select(row => row[1]).Cast<int>());

    [SpinFact]
    public void The_right_order_has_no_counterexample_and_every_statement_is_reached()
    {
        SpinVerdict verdict = Spin.Check(Model, Macro + "=0");
        Assert.True(verdict.Errors == 0, verdict.Output);
        Assert.Empty(verdict.Unreached);
        // What the processes share would be little if there were few.
        Assert.InRange(verdict.States, 10_000, 10_000_000);
    }

    [SpinTheory]
    [MemberData(nameof(WrongOrders))]
    public void A_wrong_order_has_a_counterexample(string name, int number)
    {
        SpinVerdict verdict = Spin.Check(Model, $"{Macro}={number}");
        Assert.True(verdict.Errors == 1, $"{name}: {verdict.Output}");
        Assert.Contains("assertion violated", verdict.Output, StringComparison.Ordinal);
    }

    [GeneratedRegex(@"^#define ([A-Z_]+) +(\d+) +/\*", RegexOptions.Multiline)]
    private static partial Regex Definition();
}
