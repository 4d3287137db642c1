using System.Globalization;
using System.Text.RegularExpressions;

namespace Conformance.Traces;

/// <summary>What a line says, to the oracle.</summary>
internal sealed record Told(char Kind, string Cpu, int Level, string Lane, ulong First, ulong Last, string Domain, bool CoversOthers)
{
    private static readonly Regex Form = new(
        @"^.{16}-(?<pid>\d+) +\[(?<cpu>\d+)\] ..(?<level>.)\S* +\S+ (?<name>\w+): (IOMMU: iova=0x(?<a>\w+) - 0x(?<e>\w+) |.*did (?<did>\d+) ?(\[0x(?<a>\w+)-0x(?<b>\w+)\])?|iotlb_inv dmar0: 0x(?<q0>\w+) 0x(?<q1>\w+) )?",
        RegexOptions.Compiled | RegexOptions.ExplicitCapture);

    public static Told Parse(string line)
    {
        Match m = Form.Match(line);
        ulong Hex(string name) => ulong.Parse(m.Groups[name].Value, NumberStyles.HexNumber, CultureInfo.InvariantCulture);
        int level = ".sh".IndexOf(m.Groups["level"].Value.ToLowerInvariant(), StringComparison.Ordinal);
        string cpu = m.Groups["cpu"].Value, pid = m.Groups["pid"].Value, did = m.Groups["did"].Value;
        string lane = level == 0 && pid != "0" ? $"task {pid}" : $"{cpu} {level}";
        Told Say(char kind, ulong first = 0, ulong last = ulong.MaxValue, string domain = "", bool all = false) => new(kind, cpu, level, lane, first, last, domain, all);
        switch (m.Groups["name"].Value)
        {
            case "map": return Say('m', Hex("a") >> 12, (Hex("e") - 1) >> 12);
            case "unmap": return Say('u', Hex("a") >> 12, (Hex("e") - 1) >> 12);
            case "cache_tag_assign": return Say('a', domain: did);
            case "cache_tag_flush_range": return Say('d', Hex("a") >> 12, Hex("b") >> 12, did);
            case "cache_tag_flush_all": return Say('d', domain: did);
            case "qi_submit" when m.Groups["q0"].Success:
                ulong low = Hex("q0"), pages = (1UL << (int)(Hex("q1") & 0x3F)) - 1, at = Hex("q1") >> 12;
                string domain = $"{low >> 16 & 0xFFFF}";
                return (low >> 4 & 3) == 3 ? Say('i', at & ~pages, at | pages, domain) : Say('i', domain: domain, all: (low >> 4 & 3) == 1);
            default: return Say(m.Groups["name"].Value == "qi_submit" ? 'q' : '-');
        }
    }

    public bool Covers(Told decision) => CoversOthers || (Domain == decision.Domain && First <= decision.First && decision.Last <= Last);
}

/// <summary>The first wrong line of a trace, found page by page; it knows beforehand which domain the captures use, their mode, and that decisions come before descriptors.</summary>
internal static class PageOracle
{
    private sealed class Call
    {
        public readonly Queue<(int Line, Told Told)> Decided = [];
        public readonly List<(ulong Page, int Line)> Unmapped = [];
    }

    /// <summary>The number of the first wrong line; 0 if there is none.</summary>
    public static int FirstWrong(IReadOnlyList<Told?> lines, bool strict)
    {
        var live = new HashSet<ulong>();
        var stale = new Dictionary<ulong, int>();
        var tags = new HashSet<string>();
        var calls = new Dictionary<string, Call>();
        for (int number = 1; number <= lines.Count; number++)
        {
            if (lines[number - 1] is not { } told) continue;
            Call call = CallOf(calls, told.Lane);
            bool wrong = false;
            for (ulong page = told.First; told.Kind is 'm' or 'u' && page <= told.Last; page++)
                wrong |= told.Kind == 'm' ? stale.ContainsKey(page) || !live.Add(page) : !live.Remove(page) || !stale.TryAdd(page, number);
            if (told.Kind == 'a') tags.Add(told.Domain);
            if (told.Kind == 'd')
            {
                wrong |= !tags.Contains(told.Domain);
                call.Decided.Enqueue((number, told));
            }
            else if (told.Kind == 'i')
            {
                if (call.Decided.TryDequeue(out (int, Told Told) open)) wrong |= !told.Covers(open.Told);
                foreach (ulong page in stale.Keys.Where(page => told.First <= page && page <= told.Last && (told.CoversOthers || told.Domain == (page < 4096 ? "7" : "5"))).ToList())
                    stale.Remove(page);
            }

            for (int level = told.Level; level < 3; level++)
            {
                if (level == told.Level && told.Kind is 'd' or 'i' or 'q') continue;
                Call over = level == told.Level ? call : CallOf(calls, $"{told.Cpu} {level}");
                wrong |= over.Decided.Count > 0 || (strict && over.Unmapped.Exists(unmapped => stale.GetValueOrDefault(unmapped.Page) == unmapped.Line));
                over.Unmapped.Clear();
            }

            if (wrong) return number;
            for (ulong page = told.First; told.Kind == 'u' && page <= told.Last; page++) call.Unmapped.Add((page, number));
        }

        return calls.Values.SelectMany(call => call.Decided).Select(open => open.Line).Order().Concat(stale.Values.Order()).FirstOrDefault();
    }

    private static Call CallOf(Dictionary<string, Call> calls, string lane) => calls.TryGetValue(lane, out Call? call) ? call : calls[lane] = new();
}
