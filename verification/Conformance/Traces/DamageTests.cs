using System.IO.Compression;
using System.Text;
using Harness;
using Harness.Traces;

namespace Conformance.Traces;

/// <summary>A file that cannot be judged is said in one line that names the place.</summary>
public sealed class DamageTests
{
    private const string Boot = "            init-1       [001] .....     1.773540: cache_tag_assign: dmar0/dmar0 type iotlb did 5 pasid 0 ref 1";
    private const string Map = "    kworker/u8:3-112     [000] .....     3.515981: map: IOMMU: iova=0x00000000ffffd000 - 0x00000000ffffe000 paddr=0x000000000e3ef000 size=4096";
    private const string Unmap = "    kworker/u8:3-112     [000] ..s1.     3.516775: unmap: IOMMU: iova=0x00000000ffffd000 - 0x00000000ffffe000 size=4096 unmapped_size=4096";
    private const string Flush = "    kworker/u8:3-112     [000] d.s2.     3.517017: cache_tag_flush_range: dmar0 dmar0[0] type iotlb did 5 [0xffffd000-0xffffdfff] addr 0xffffd000 pages 0x1 mask 0x0";
    private const string Submit = "    kworker/u8:3-112     [000] d.s3.     3.517083: qi_submit: iotlb_inv dmar0: 0x500f2 0xffffd040 0x0 0x0";

    /// <summary>A line, and what the refusal to read it must say.</summary>
    public static TheoryData<string, string> UnreadableLines => new()
    {
        { "the quick brown fox", "TASK-PID" },
        { Map.Replace("-112", "-x12", StringComparison.Ordinal), "PID" },
        { Map.Replace("[000]", "000", StringComparison.Ordinal), "CPU" },
        { Map.Replace("[000]", "[99999]", StringComparison.Ordinal), "CPU" },
        { Map.Replace(" .....", "", StringComparison.Ordinal), "flags" },
        { Map.Replace(" .....", " ..q..", StringComparison.Ordinal), "flags" },
        { Map.Replace("3.515981", "3515981", StringComparison.Ordinal), "TIMESTAMP" },
        { Map.Replace("3.515981", "3.51598", StringComparison.Ordinal), "TIMESTAMP" },
        { Map.Replace("iova=0x00000000ffffd000", "iova=0x00000000ffffd001", StringComparison.Ordinal), "map: iova" },
        { Map.Replace("iova=0x", "iova=", StringComparison.Ordinal), "map: iova" },
        { Map.Replace("paddr=0x000000000e3ef000", "paddr=0x000000000e3ef0zz", StringComparison.Ordinal), "map: paddr" },
        { Map.Replace("paddr=0x000000000e3ef000", "paddr=0xfffffffffffff001", StringComparison.Ordinal), "map: paddr" },
        { Map.Replace("paddr=0x0", "paddr=0x00", StringComparison.Ordinal), "map: paddr" },
        { Map.Replace("size=4096", "size=8192", StringComparison.Ordinal), "map: size" },
        { Map.Replace("size=4096", "size=0", StringComparison.Ordinal), "map: size" },
        { Map.Replace("size=4096", "size=99999999999999999999", StringComparison.Ordinal), "map: size" },
        { Map + " more", "map: size" },
        { Unmap[..^19], "unmap: unmapped_size" },
        { Unmap[..^1] + "k", "unmap: unmapped_size" },
        { Flush.Replace("did 5", "did 65536", StringComparison.Ordinal), "cache_tag_flush_range: did" },
        { Flush.Replace("-0xffffdfff]", "-0xffffcfff]", StringComparison.Ordinal), "cache_tag_flush_range: range" },
        { Flush.Replace("mask 0x0", "mask 0x40", StringComparison.Ordinal), "cache_tag_flush_range: mask" },
        { Flush.Replace("dmar0 dmar0", "iommu dmar0", StringComparison.Ordinal), "cache_tag_flush_range: unit" },
        { Submit.Replace("0x500f2", "0x500f5", StringComparison.Ordinal), "qi_submit: q0" },
        { Submit.Replace("0x500f2", "0x500c2", StringComparison.Ordinal), "qi_submit: q0" },
        { Submit.Replace(" 0x0 0x0", " 0x0", StringComparison.Ordinal), "qi_submit: q3" },
        { Submit + "0", "" },
    };

    [Theory]
    [MemberData(nameof(UnreadableLines))]
    public void A_line_that_cannot_be_read_is_named_with_its_field(string line, string field)
    {
        if (field.Length == 0)
        {
            Assert.Null(TraceCheck.Run(CaptureText.File([Boot, Map, Unmap, Flush, line])).Refusal);
            return;
        }

        Assert.Contains($"line 3: {field}: found ", Damage([Boot, Map, line]), StringComparison.Ordinal);
    }

    [Fact]
    public void The_lines_that_are_damaged_here_are_accepted_whole() =>
        Assert.Null(TraceCheck.Run(CaptureText.File([Boot, Map, Unmap, Flush, Submit])).Refusal);

    [Fact]
    public void An_empty_file_is_said() => Assert.Contains("the file is empty", Damage([]), StringComparison.Ordinal);

    [Fact]
    public void A_file_without_events_is_said()
    {
        Assert.Contains("line 1: the trace ends without an event", Damage(["# tracer: nop"]), StringComparison.Ordinal);
        Assert.Contains("line 1: the trace ends without a map event", Damage([Boot]), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(1 << 20)]
    public void Binary_junk_is_said(int bytes)
    {
        byte[] junk = new byte[bytes];
        new Random(7).NextBytes(junk);
        Assert.Contains("line 1: TASK-PID", Damage(new MemoryStream(junk)), StringComparison.Ordinal);
        Assert.Contains("expected", Damage(new MemoryStream(new byte[bytes])), StringComparison.Ordinal);
    }

    [Fact]
    public void A_gzip_file_that_is_cut_short_is_said_wherever_it_is_cut()
    {
        byte[] whole = Capture();
        foreach (int length in new[] { 2, 9, 10, 11, 100, 5_000, whole.Length / 2, whole.Length - 9, whole.Length - 8, whole.Length - 4, whole.Length - 1 })
            Assert.Contains("the gzip data are cut short or damaged after line ", Damage(new MemoryStream(whole[..length])), StringComparison.Ordinal);
    }

    [Fact]
    public void A_gzip_file_with_a_wrong_byte_is_said_or_refused()
    {
        var random = new Random(7);
        for (int i = 0; i < 40; i++)
        {
            byte[] damaged = Capture();
            damaged[random.Next(20, damaged.Length)] ^= (byte)(1 << random.Next(8));
            bool isAccepted = true;
            try
            {
                isAccepted = TraceCheck.Run(new MemoryStream(damaged)).Refusal is null;
            }
            catch (BadInputException e)
            {
                Assert.DoesNotContain('\n', e.Message);
                isAccepted = false;
            }

            Assert.False(isAccepted);
        }
    }

    [Fact]
    public void A_text_file_that_is_cut_short_is_said()
    {
        string[] lines = CaptureText.Lazy;
        Assert.Equal(
            $"line {lines.Length - 1000}: the trace ends after {10_815 - 1000} events and its header announces 10815: it was cut short or edited",
            Damage(lines[..^1000]));
        byte[] text = CaptureText.File(lines).ToArray();
        Assert.Contains("expected", Damage(new MemoryStream(text[..^2000])), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("# entries-in-buffer/entries-written: 140080/250280   #P:4", "140080 of 250280 entries are in the buffer")]
    [InlineData("CPU:1 [LOST 12 EVENTS]", "CPU:1 [LOST 12 EVENTS]")]
    [InlineData("CPU:1 [LOST EVENTS]", "CPU:1 [LOST EVENTS]")]
    [InlineData("##### CPU 1 buffer started ####", "CPU 1 buffer started")]
    [InlineData("# overrun: 3", "overrun: 3")]
    [InlineData("overrun: 3", "overrun: 3")]
    public void Lost_events_are_said(string line, string what)
    {
        string said = Damage([line, Boot, Map]);
        Assert.StartsWith("line 1: events were lost: ", said, StringComparison.Ordinal);
        Assert.Contains(what, said, StringComparison.Ordinal);
    }

    [Fact]
    public void Nothing_lost_is_no_damage() =>
        Assert.Null(TraceCheck.Run(CaptureText.File(["# entries-in-buffer/entries-written: 2/2   #P:4", "# overrun: 0", Boot, Map])).Refusal);

    [Fact]
    public void A_trace_that_starts_after_boot_is_said()
    {
        foreach (string first in new[] { Map, Unmap, Flush, Submit })
            Assert.StartsWith("line 1: the trace starts after boot", Damage([first]), StringComparison.Ordinal);
    }

    [Fact]
    public void A_trace_of_two_domains_is_said_even_where_their_maps_collide()
    {
        string second = Boot.Replace("did 5", "did 6", StringComparison.Ordinal);
        string flush = Flush.Replace("did 5", "did 6", StringComparison.Ordinal);
        string submit = Submit.Replace("0x500f2", "0x600f2", StringComparison.Ordinal);
        string said = Damage([Boot, second, Map, Unmap, Flush, Submit, Map, Map, Unmap, flush, submit]);
        Assert.StartsWith("line 11: dmar0 domain 6 is invalidated beside dmar0 domain 5", said, StringComparison.Ordinal);
    }

    [Fact]
    public void A_violation_before_the_damage_is_still_a_violation()
    {
        Assert.Equal(3, TraceCheck.Run(CaptureText.File([Boot, Map, Map, "junk"])).Refusal?.Line);
    }

    [Fact]
    public void A_file_that_is_not_there_is_said_by_name()
    {
        string path = Path.Combine(Path.GetTempPath(), Guid.NewGuid().ToString("n"));
        string said = Assert.Throws<BadInputException>(() => TraceCheck.Run(path)).Message;
        Assert.StartsWith(path, said, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', said);
    }

    private static string Damage(string[] lines) => Damage(CaptureText.File(lines));

    private static string Damage(Stream file)
    {
        string said = Assert.Throws<BadInputException>(() => TraceCheck.Run(file)).Message;
        Assert.DoesNotContain('\n', said);
        Assert.All(said, character => Assert.False(char.IsControl(character)));
        return said;
    }

    private static byte[] Capture()
    {
        using Stream capture = Captures.Open(Captures.Names[0]);
        var bytes = new MemoryStream();
        capture.CopyTo(bytes);
        return bytes.ToArray();
    }
}
