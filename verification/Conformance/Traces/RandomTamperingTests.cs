using System.Globalization;
using System.Text.RegularExpressions;
using Harness.Traces;
using Xunit.Abstractions;

namespace Conformance.Traces;

/// <summary>One line changed at random: the judge and a page-by-page oracle that shares nothing with it agree on the line.</summary>
[Trait("Category", "Broad")]
public sealed partial class RandomTamperingTests(ITestOutputHelper output)
{
    private const int Seed = 20_100_701;
    private const int TamperingsPerCapture = 500;

    [Fact]
    public void Tampering_with_the_strict_capture_is_refused_where_the_oracle_says() => Compare(CaptureText.Strict, strict: true);

    [Fact]
    public void Tampering_with_the_lazy_capture_is_refused_where_the_oracle_says() => Compare(CaptureText.Lazy, strict: false);

    private void Compare(string[] lines, bool strict)
    {
        output.WriteLine($"seed {Seed}");
        var random = new Random(Seed);
        Told?[] told = [.. lines.Select(Read)];
        var known = new Dictionary<string, Told?>(ReferenceEqualityComparer.Instance);
        for (int i = 0; i < lines.Length; i++) known[lines[i]] = told[i];
        Assert.Equal(0, PageOracle.FirstWrong(told, strict));
        var wrong = new SortedDictionary<string, int>();
        var harmless = new SortedDictionary<string, int>();
        for (int i = 0; i < TamperingsPerCapture; i++)
        {
            string what = "";
            int at = 0;
            List<string> tampered;
            do tampered = CaptureText.Edit(lines, copy => what = Tamper(copy, random, out at));
            while (what.Length == 0);

            // A line that is the very same object need not be read again.
            Told?[] read = [.. tampered.Select(line => known.TryGetValue(line, out Told? before) ? before : Read(line))];
            int expected = PageOracle.FirstWrong(read, strict);
            TraceRefusal? refusal = CaptureText.Judge(tampered).Refusal;
            Assert.True(
                expected == (refusal?.Line ?? 0),
                $"seed {Seed}, tampering {i}: {what} at line {at + 1}: the oracle says line {expected}, the judge says {refusal?.ToString() ?? "accepted"}");
            SortedDictionary<string, int> tally = expected > 0 ? wrong : harmless;
            tally[what] = tally.GetValueOrDefault(what) + 1;
        }

        output.WriteLine($"wrong: {string.Join(", ", wrong)}");
        output.WriteLine($"harmless: {string.Join(", ", harmless)}");
        Assert.True(wrong.Values.Sum() > TamperingsPerCapture / 5 && harmless.Values.Sum() > TamperingsPerCapture / 5);
    }

    private static Told? Read(string line) => line[0] == '#' ? null : Told.Parse(line);

    /// <summary>Changes one line; says how, or nothing if the line that was picked has nothing to change.</summary>
    private static string Tamper(List<string> lines, Random random, out int at)
    {
        const int header = 7;
        at = random.Next(header, lines.Count - 3);
        int kind = random.Next(15);

        // Half of the captures are maps: for changes of invalidations, go on to the next line that is one.
        string? wanted = kind switch { >= 3 and <= 6 => "iotlb_inv", 7 or 8 => "cache_tag_flush", 9 => " unmap:", 10 or 11 => "map:", 12 => "iotlb_inv", _ => null };
        while (wanted is not null && at < lines.Count - 4 && !lines[at].Contains(wanted, StringComparison.Ordinal)) at++;
        string line = lines[at];
        string changed = kind switch
        {
            3 => Descriptor(line, (low, high) => (low, (high & 0x3F) > 0 ? high - 1 : high)),
            4 => Descriptor(line, (low, high) => ((low & 0xFFFF) | (ulong)random.Next(1, 9) << 16, high)),
            5 => Descriptor(line, (low, high) => ((low & ~0x30UL) | (ulong)random.Next(1, 4) << 4, high)),
            6 => Descriptor(line, (low, high) => (low, high ^ 0x1000UL << random.Next(6))),
            7 => Did().Replace(line, $"did {random.Next(1, 9)}"),
            8 => FlushRange().Replace(line, match => $"[0x{Hex(match, 1) + 4096:x}-0x{Hex(match, 2) + 4096:x}] addr 0x0 pages 0x0 mask 0x34"),
            9 => Iova().Replace(line, match => Move(match, 0, Hex(match, 3) > 4096 ? -4096 : 4096)),
            10 => Iova().Replace(line, match => Move(match, random.Next(2) == 0 ? 4096 : -4096, 0)),
            11 => Target().Replace(line, match => $"paddr=0x{Hex(match, 1) ^ 0x4000:x16}"),
            12 => Descriptor(line, (low, high) => (low, (high & 0x3F) < 30 ? high + 1 : high)),
            13 => Processor().Replace(line, match => match.Value == "[000]" ? "[001]" : "[000]"),
            14 => line.Replace(": unmap:", ": dma_unmap:", StringComparison.Ordinal),
            _ => line,
        };
        if (kind <= 2) return Move(lines, at, kind, random);
        if (changed == line) return "";
        lines[at] = changed;
        return kind switch
        {
            3 => "mask smaller", 4 => "descriptor's domain", 5 => "granularity", 6 => "descriptor's address", 7 => "decision's domain", 8 => "decision's range",
            9 => "unmap's length", 10 => "iova", 11 => "physical address", 12 => "mask larger", 13 => "CPU", _ => "unmap hidden",
        };
    }

    private static string Move(List<string> lines, int at, int kind, Random random)
    {
        switch (kind)
        {
            case 0:
                lines.RemoveAt(at);
                return "removed";
            case 1:
                lines.Insert(at, lines[at]);
                return "doubled";
            default:
                int other = at + random.Next(1, 4);
                (lines[at], lines[other]) = (lines[other], lines[at]);
                return "swapped";
        }
    }

    private static string Descriptor(string line, Func<ulong, ulong, (ulong Low, ulong High)> change) =>
        DescriptorWords().Replace(line, match => change(Hex(match, 1), Hex(match, 2)) is var (low, high) ? $"dmar0: 0x{low:x} 0x{high:x} " : "");

    /// <summary>A range moved and made longer, with the size that it then has.</summary>
    private static string Move(Match match, long by, long longer)
    {
        ulong first = unchecked(Hex(match, 1) + (ulong)by);
        ulong size = unchecked(ulong.Parse(match.Groups[4].Value, CultureInfo.InvariantCulture) + (ulong)longer);
        string cleared = match.Groups[5].Success ? $" unmapped_size={size}" : "";
        return $"iova=0x{first:x16} - 0x{unchecked(first + size):x16}{match.Groups[3].Value} size={size}{cleared}";
    }

    private static ulong Hex(Match match, int group) => ulong.TryParse(match.Groups[group].Value, NumberStyles.HexNumber, CultureInfo.InvariantCulture, out ulong value) ? value : 0;

    [GeneratedRegex(@"dmar0: 0x(\w+) 0x(\w+) ")]
    private static partial Regex DescriptorWords();

    [GeneratedRegex(@"\[00[01]\]")]
    private static partial Regex Processor();

    [GeneratedRegex(@"did \d+")]
    private static partial Regex Did();

    [GeneratedRegex(@"\[0x(\w+)-0x(\w+)\].*")]
    private static partial Regex FlushRange();

    [GeneratedRegex(@"iova=0x(\w+) - 0x(\w+)( paddr=\w+)? size=(\d+)( unmapped_size=\d+)?")]
    private static partial Regex Iova();

    [GeneratedRegex(@"paddr=0x(\w+)")]
    private static partial Regex Target();
}
