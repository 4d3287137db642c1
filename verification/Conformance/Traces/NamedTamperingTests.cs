using Harness.Traces;
using Vcmm.Spec;
using Xunit.Abstractions;

namespace Conformance.Traces;

/// <summary>Each kind of tampering by name, the line that must be named, and what its page went through.</summary>
public sealed class NamedTamperingTests(ITestOutputHelper output)
{
    [Fact]
    public void A_removed_invalidation_is_refused_at_the_next_line_that_proves_it()
    {
        int at = Descriptor(CaptureText.Strict, 100);
        TraceRefusal refusal = Refused(CaptureText.Strict, lines => lines.RemoveAt(at), Invariant.NoStaleAccess, FirstLineAtOrAfter(CaptureText.Strict, at));
        Assert.Contains(refusal.History, what => what.Contains($"line {at - 1,8}", StringComparison.Ordinal) && what.Contains("unmap", StringComparison.Ordinal));
    }

    [Fact]
    public void A_smaller_mask_is_refused_at_the_descriptor()
    {
        int at = Array.FindIndex(CaptureText.Strict, line => line.Contains("iotlb_inv", StringComparison.Ordinal) && line.Contains("45 0x0 0x0", StringComparison.Ordinal));
        Refused(CaptureText.Strict, lines => lines[at] = lines[at].Replace("45 0x0 0x0", "44 0x0 0x0", StringComparison.Ordinal), Invariant.NoStaleAccess, at + 1);
    }

    [Fact]
    public void Another_domain_in_the_descriptor_is_refused_at_the_descriptor()
    {
        int strict = Descriptor(CaptureText.Strict, 100);
        Refused(CaptureText.Strict, lines => lines[strict] = lines[strict].Replace("0x500f2", "0x600f2", StringComparison.Ordinal), Invariant.NoStaleAccess, strict + 1);
        int lazy = Descriptor(CaptureText.Lazy, 30);
        Refused(CaptureText.Lazy, lines => lines[lazy] = lines[lazy].Replace("0x500e2", "0x400e2", StringComparison.Ordinal), Invariant.NoStaleAccess, lazy + 1);
    }

    [Fact]
    public void Another_domain_in_the_decision_is_refused_at_the_descriptor_or_at_once_if_no_device_is_in_it()
    {
        int at = Descriptor(CaptureText.Strict, 100) - 1;
        Refused(CaptureText.Strict, lines => lines[at] = lines[at].Replace("did 5", "did 6", StringComparison.Ordinal), Invariant.NoStaleAccess, at + 2);
        Refused(CaptureText.Strict, lines => lines[at] = lines[at].Replace("did 5", "did 9", StringComparison.Ordinal), Invariant.NoStaleAccess, at + 1);
    }

    [Fact]
    public void A_doubled_unmap_is_refused_at_the_second()
    {
        int strict = Descriptor(CaptureText.Strict, 100) - 2;
        Refused(CaptureText.Strict, lines => lines.Insert(strict, lines[strict]), Invariant.Conservation, strict + 2);
        int lazy = Array.FindIndex(CaptureText.Lazy, 5000, line => line.Contains(" unmap:", StringComparison.Ordinal));
        Refused(CaptureText.Lazy, lines => lines.Insert(lazy, lines[lazy]), Invariant.Conservation, lazy + 2);
    }

    [Fact]
    public void Swapped_lines_are_refused()
    {
        int unmap = Descriptor(CaptureText.Strict, 100) - 2;
        Refused(CaptureText.Strict, lines => (lines[unmap], lines[unmap + 1]) = (lines[unmap + 1], lines[unmap]), Invariant.NoStaleAccess, unmap + 2);
        Refused(CaptureText.Strict, lines => (lines[unmap - 1], lines[unmap]) = (lines[unmap], lines[unmap - 1]), Invariant.Conservation, unmap);
    }

    [Theory]
    [InlineData("strict")]
    [InlineData("lazy")]
    public void A_descriptor_before_its_decision_is_refused_where_decisions_come_first(string name)
    {
        string[] lines = name == "strict" ? CaptureText.Strict : CaptureText.Lazy;
        int descriptor = Descriptor(lines, name == "strict" ? 100 : 10);
        Assert.Contains("cache_tag_flush", lines[descriptor - 1], StringComparison.Ordinal);
        List<string> swapped = CaptureText.Edit(lines, copy => (copy[descriptor - 1], copy[descriptor]) = (copy[descriptor], copy[descriptor - 1]));
        int expected = PageOracle.FirstWrong([.. swapped.Select(line => line[0] == '#' ? null : Told.Parse(line))], name == "strict");
        Assert.InRange(expected, descriptor + 1, descriptor + 20);
        TraceRefusal refusal = Assert.IsType<TraceRefusal>(CaptureText.Judge(swapped).Refusal);
        Assert.Equal((expected, Invariant.NoStaleAccess), ((int)refusal.Line, refusal.Invariant));
    }

    [Fact]
    public void A_map_over_a_live_page_is_refused_with_the_line_that_mapped_it_however_long_ago()
    {
        string[] lines = CaptureText.Strict;
        string live = lines.First(line => line.Contains("iova=0x00000000fffff000", StringComparison.Ordinal));
        TraceRefusal refusal = Refused(lines, copy => copy.Insert(15_000, live), Invariant.BreakBeforeMake, 15_001);
        Assert.Contains($"line {Array.IndexOf(lines, live) + 1,8}", refusal.History[0], StringComparison.Ordinal);
    }

    [Fact]
    public void What_is_never_invalidated_is_refused_at_the_end_with_the_line_of_its_unmap()
    {
        int flush = Array.FindLastIndex(CaptureText.Lazy, line => line.Contains("cache_tag_flush_all", StringComparison.Ordinal));
        int before = Array.FindLastIndex(CaptureText.Lazy, flush - 1, line => line.Contains("qi_submit", StringComparison.Ordinal));
        int unmap = Array.FindIndex(CaptureText.Lazy, before, line => line.Contains(" unmap:", StringComparison.Ordinal));
        Refused(CaptureText.Lazy, lines => lines.RemoveRange(flush, 2), Invariant.NoStaleAccess, unmap + 1);
    }

    [Fact]
    public void The_last_invalidation_is_missed_too()
    {
        int at = Array.FindLastIndex(CaptureText.Lazy, line => line.Contains("iotlb_inv", StringComparison.Ordinal));
        Refused(CaptureText.Lazy, lines => lines.RemoveAt(at), Invariant.NoStaleAccess, at);
    }

    [Fact]
    public void An_unmap_that_cleared_less_than_it_was_told_is_refused()
    {
        int at = Array.FindIndex(CaptureText.Lazy, line => line.EndsWith("unmapped_size=8192", StringComparison.Ordinal));
        Refused(CaptureText.Lazy, lines => lines[at] = lines[at].Replace("unmapped_size=8192", "unmapped_size=4096", StringComparison.Ordinal), Invariant.Conservation, at + 1);
    }

    [Fact]
    public void A_block_that_does_not_cover_what_was_decided_is_refused_at_the_decision()
    {
        int at = Array.FindIndex(CaptureText.Strict, line => line.EndsWith("pages 0x20 mask 0x5", StringComparison.Ordinal));
        Refused(CaptureText.Strict, lines => lines[at] = lines[at].Replace("mask 0x5", "mask 0x4", StringComparison.Ordinal), Invariant.NoStaleAccess, at + 1);
    }

    [Fact]
    public void A_lazy_trace_held_to_strict_is_refused_at_the_first_unmap_that_is_left()
    {
        TraceRefusal? refusal = TraceCheck.Run(CaptureText.File(CaptureText.Lazy), TraceMode.Strict).Refusal;
        Assert.Equal((Invariant.NoStaleAccess, 40L), (refusal!.Invariant, refusal.Line));
        Assert.Null(TraceCheck.Run(CaptureText.File(CaptureText.Strict), TraceMode.Lazy).Refusal);
    }

    [Fact]
    public void An_interrupt_between_an_unmap_and_its_invalidation_is_another_call()
    {
        string boot = Assigned(5);
        string[] outer = Call("..... ", 0x1000), inner = Call("d.h1. ", 0x8000);
        string[] moved = [.. outer.Select((line, i) => i > 1 ? line.Replace("[000]", "[001]", StringComparison.Ordinal) : line)];
        Assert.Null(CaptureText.Judge([boot, inner[0], .. outer[..2], .. inner[1..], .. outer[2..], .. Call("..... ", 0x1000)]).Refusal);
        Assert.Null(CaptureText.Judge([boot, .. moved, .. Call("..... ", 0x1000)]).Refusal);

        // The interrupted call itself must still be finished; and the interrupt's before it goes on.
        Assert.Equal(7, CaptureText.Judge([boot, inner[0], .. outer[..2], inner[1], inner[2], outer[2], outer[3], inner[3]]).Refusal?.Line);
        Assert.Equal(8, CaptureText.Judge([boot, inner[0], .. outer[..2], .. inner[1..], outer[0]]).Refusal?.Line);
    }

    [Fact]
    public void A_descriptor_that_nobody_decided_on_counts_in_its_own_domain_only()
    {
        string[] call = Call("..... ", 0x1000), again = [call[0], call[1], call[3], .. call];
        Assert.Null(CaptureText.Judge([Assigned(5), Assigned(6), .. call, .. again]).Refusal);
        again[2] = again[2].Replace("0x500f2", "0x600f2", StringComparison.Ordinal);
        Assert.Equal(10, CaptureText.Judge([Assigned(5), Assigned(6), .. call, .. again]).Refusal?.Line);
        again[2] = call[3].Replace("0x500f2", "0x500d2", StringComparison.Ordinal).Replace("dmar0", "dmar1", StringComparison.Ordinal);
        Assert.Equal(10, CaptureText.Judge([Assigned(5), Assigned(6), .. call, .. again]).Refusal?.Line);
    }

    [Fact]
    public void Any_number_of_tasks_may_submit_what_nobody_decided_on()
    {
        string[] call = Call("..... ", 0x1000);
        IEnumerable<string> tasks = Enumerable.Range(10_000, 5_000).Select(pid => call[3].Replace("dd-282    ", $"dd-{pid}  ", StringComparison.Ordinal));
        TraceOutcome outcome = CaptureText.Judge([Assigned(5), .. call, .. tasks, .. call, call[1]]);
        Assert.Equal((5_010L, Invariant.Conservation), (outcome.Refusal!.Line, outcome.Refusal.Invariant));
    }

    [Fact]
    public void A_direct_map_is_of_the_domain_that_gets_its_first_device_next()
    {
        const string direct = "            init-1       [001] .....     1.773000: map: IOMMU: iova=0x0000000000001000 - 0x0000000000002000 paddr=0x0000000000001000 size=4096";
        string[] call = Call("..... ", 0x1000), other = Call("..... ", 0x8000);

        // Another domain's direct map is in nobody's way; the shared domain's own is, whether its id is learnt before or after.
        Assert.Null(CaptureText.Judge([Assigned(4), direct, Assigned(7), Assigned(5), .. other, .. call]).Refusal);
        Assert.Equal(8, CaptureText.Judge([Assigned(4), direct, Assigned(5), .. other, .. call]).Refusal?.Line);
        Assert.Equal(8, CaptureText.Judge([Assigned(5), .. other, direct, Assigned(5), call[0]]).Refusal?.Line);

        Assert.Null(CaptureText.Judge([Assigned(5), .. other, direct, Assigned(7), call[0]]).Refusal);

        // Where no device follows, it is taken for the shared domain's; and two of them collide wherever they belong.
        Assert.Equal(3, CaptureText.Judge([Assigned(5), direct, call[0]]).Refusal?.Line);
        Assert.Equal(3, CaptureText.Judge([Assigned(4), direct, direct, Assigned(7)]).Refusal?.Line);
    }

    [Fact]
    public void Decisions_come_before_their_descriptors_or_after_them_as_the_first_one_does()
    {
        string boot = Assigned(5);
        string[] before = Call("..... ", 0x1000);
        string[] after = [before[0], before[1], before[3], before[2]];
        Assert.Null(CaptureText.Judge([boot, .. before, .. before]).Refusal);
        Assert.Null(CaptureText.Judge([boot, .. after, .. after]).Refusal);
        // The decision stands open until its lane goes on.
        Assert.Equal(10, CaptureText.Judge([boot, .. before, .. after, .. before]).Refusal?.Line);
        Assert.Equal(10, CaptureText.Judge([boot, .. after, .. before, .. after]).Refusal?.Line);
    }

    private static string Assigned(int domain) =>
        $"            init-1       [001] .....     1.773540: cache_tag_assign: dmar0/dmar0 type iotlb did {domain} pasid 0 ref 1";

    private static string[] Call(string flags, ulong iova)
    {
        string head = $"              dd-282     [000] {flags}   11.932655: ";
        string range = $"IOMMU: iova=0x{iova:x16} - 0x{iova + 4096:x16}";
        return
        [
            $"{head}map: {range} paddr=0x0000000077770000 size=4096",
            $"{head}unmap: {range} size=4096 unmapped_size=4096",
            $"{head}cache_tag_flush_range: dmar0 dmar0[0] type iotlb did 5 [0x{iova:x}-0x{iova | 0xfff:x}] addr 0x{iova:x} pages 0x1 mask 0x0",
            $"{head}qi_submit: iotlb_inv dmar0: 0x500f2 0x{iova | 0x40:x} 0x0 0x0",
        ];
    }

    private TraceRefusal Refused(string[] lines, Action<List<string>> edit, Invariant invariant, int line)
    {
        TraceOutcome outcome = CaptureText.Judge(CaptureText.Edit(lines, edit));
        Assert.NotNull(outcome.Refusal);
        output.WriteLine(outcome.Refusal.ToString());
        Assert.Equal((line, invariant), ((int)outcome.Refusal.Line, outcome.Refusal.Invariant));
        Assert.NotEmpty(outcome.Refusal.History);
        return outcome.Refusal;
    }

    /// <summary>The index of the <paramref name="nth"/> descriptor of a capture.</summary>
    private static int Descriptor(string[] lines, int nth) =>
        Enumerable.Range(0, lines.Length).Where(index => lines[index].Contains("iotlb_inv", StringComparison.Ordinal)).ElementAt(nth);

    /// <summary>The line number, in the edited trace, of the first line after a removed one that the same processor recorded.</summary>
    private static int FirstLineAtOrAfter(string[] lines, int removed)
    {
        string cpu = lines[removed].Contains("[000]", StringComparison.Ordinal) ? "[000]" : "[001]";
        return Array.FindIndex(lines, removed + 1, line => line.Contains(cpu, StringComparison.Ordinal));
    }
}
