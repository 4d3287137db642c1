using CsCheck;
using Harness.Generating;

namespace Properties.House;

/// <summary>Generated values are the same in each run, and what fails of one is told with the seed that draws it.</summary>
public sealed class SeededLaws
{
    private static readonly Gen<int> Numbers = Gen.Int[0, 9_999];

    [Fact]
    public void Each_run_sees_the_same_values()
    {
        int[] first = Drawn(1), second = Drawn(1), other = Drawn(2);
        Assert.Equal(first, second);
        Assert.NotEqual(first, other);
        Assert.InRange(first.Distinct().Count(), 900, 1000);
        Assert.InRange(first.Average(), 4_500, 5_500);

        static int[] Drawn(ulong seed)
        {
            var drawn = new List<int>();
            Numbers.ForAll(1000, drawn.Add, seed);
            return [.. drawn];
        }
    }

    /// <summary>A property of numbers that fails of one in ten thousand: of the thousand that are drawn the same one fails each time, or none.</summary>
    [Fact]
    public void What_fails_fails_in_each_run_and_the_seed_draws_it_again()
    {
        int rare = 0;
        Numbers.ForAll(700, value => rare = value);
        for (int run = 0; run < 3; run++)
        {
            string message = Assert.Throws<CsCheckException>(() => Numbers.ForAll(1000, value => Assert.NotEqual(rare, value))).Message;
            string seed = message.Split('"')[1];
            Assert.Equal(rare, Numbers.Generate(PCG.Parse(seed), null, out _));
        }

        Numbers.ForAll(1000, static value => Assert.NotEqual(-1, value));
    }

    [Fact]
    public void A_failure_that_does_not_come_again_is_told_as_such()
    {
        bool hasFailed = false;
        CsCheckException thrown = Assert.Throws<CsCheckException>(() => Numbers.ForAll(10, _ =>
        {
            if (hasFailed) return;
            hasFailed = true;
            throw new InvalidOperationException("once");
        }));
        Assert.Equal("once", thrown.InnerException?.Message);
    }
}
