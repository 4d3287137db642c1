using System.Text;
using Explorer.Machines;
using Explorer.Scheduling;
using IommuSim;

namespace Explorer.Reporting;

/// <summary>Draws what the agents did, one column for each, time running down. A row stands where a step begins.</summary>
/// <remarks>
/// Shown are calls and returns, what devices move, entries of tables that are changed and walked through in this schedule, fills
/// and hits of the IOTLB, commands, and faults. Left out are the words of the command queue, and walks through entries that
/// nobody changes.
/// </remarks>
public static class Lanes
{
    private const ulong DescriptorTypeMask = 0xf;

    /// <summary>The drawing.</summary>
    /// <param name="events">All that was recorded.</param>
    /// <param name="shown">How many of them are shown.</param>
    public static string Draw(IReadOnlyList<ScheduleEvent> events, out int shown)
    {
        HashSet<ulong> entries = SharedEntries(events);
        var rows = new List<(string Agent, string Text)>();
        foreach (ScheduleEvent e in events)
        {
            if (Describe(e, entries) is { } row) rows.Add((e.Agent, row));
        }

        shown = rows.Count;
        int lanesBegin = rows.FindIndex(row => row.Agent != Attempt.SetUpAgent);
        int lanesEnd = rows.FindLastIndex(row => row.Agent != Attempt.SetUpAgent) + 1;
        var text = new StringBuilder();
        foreach ((_, string row) in rows[..Math.Max(0, lanesBegin)]) text.Append($"set up: {row}\n");
        if (lanesBegin >= 0) AppendLanes(text, rows[lanesBegin..lanesEnd]);
        foreach ((_, string row) in rows[lanesEnd..]) text.Append($"at rest: {row}\n");
        return text.ToString();
    }

    private static void AppendLanes(StringBuilder text, List<(string Agent, string Text)> rows)
    {
        string[] agents = [.. rows.Select(row => row.Agent).Distinct().OrderBy(OrderOf).ThenBy(agent => agent, StringComparer.Ordinal)];
        int[] widths = [.. agents.Select(agent => Math.Max(agent.Length, rows.Where(row => row.Agent == agent).Max(row => row.Text.Length)))];
        AppendRow(text, "", agents, widths);
        text.Append(' ', 4);
        foreach (int width in widths) text.Append("-+-").Append('-', width);
        text.Append('\n');
        for (int i = 0; i < rows.Count; i++)
            AppendRow(text, $"{i + 1}", [.. agents.Select(agent => agent == rows[i].Agent ? rows[i].Text : "")], widths);
    }

    private static int OrderOf(string agent) => agent == CommandPump.Agent ? 1 : 0;

    private static void AppendRow(StringBuilder text, string number, string[] cells, int[] widths)
    {
        var line = new StringBuilder($"{number,4}");
        for (int i = 0; i < cells.Length; i++) line.Append(" | ").Append(cells[i].PadRight(widths[i]));
        text.Append(line.ToString().TrimEnd()).Append('\n');
    }

    /// <summary>Words that are changed beside the walks that read them. A device's walk runs in the device's lane.</summary>
    private static HashSet<ulong> SharedEntries(IReadOnlyList<ScheduleEvent> events)
    {
        HashSet<ulong> changed = [.. events.Where(e => e is { Kind: EventKind.MemoryWrite or EventKind.MemoryBuffered } && e.Agent != Attempt.SetUpAgent).Select(e => e.Detail)];
        changed.IntersectWith(events.Where(e => e.Kind == EventKind.MemoryRead && e.Agent != CommandPump.Agent).Select(e => e.Detail));
        return changed;
    }

    private static string? Describe(ScheduleEvent e, HashSet<ulong> entries) => e.Kind switch
    {
        // Setting up is told in one row a call.
        EventKind.Return when e.Agent == Attempt.SetUpAgent => e.Text,
        EventKind.Violation => "! " + e.Text![..e.Text!.IndexOf(':', StringComparison.Ordinal)],
        _ when e.Agent == Attempt.SetUpAgent => null,
        EventKind.Call => e.Text + " …",
        EventKind.Return => "… " + e.Text![e.Text!.LastIndexOf('=')..],
        EventKind.Device => $"{e.Text} pa:0x{e.Value:x}",
        EventKind.MemoryWrite when entries.Contains(e.Detail) => $"entry pa:0x{e.Detail:x} := 0x{e.Value:x}",
        EventKind.MemoryBuffered when entries.Contains(e.Detail) => $"buffers pa:0x{e.Detail:x} := 0x{e.Value:x}",
        EventKind.MemoryRead when entries.Contains(e.Detail) => $"walks: entry pa:0x{e.Detail:x} is 0x{e.Value:x}",
        EventKind.Hardware => Describe((SimStep)e.Detail, e.Value),
        _ => null,
    };

    private static string? Describe(SimStep step, ulong detail) => step switch
    {
        SimStep.IotlbLookup => $"looks iova:0x{detail:x} up in the IOTLB",
        SimStep.IotlbFill => $"fills the IOTLB: iova:0x{detail:x}",
        SimStep.FaultRecord => $"records a fault at iova:0x{detail:x}",
        SimStep.CommandExecute => (detail & DescriptorTypeMask) switch
        {
            1 => "invalidates the context cache",
            2 => "invalidates the IOTLB",
            5 => "waits for what is under way",
            ulong type => $"executes a command of type {type}",
        },
        SimStep.StatusWrite => "says that it is done",
        SimStep.DeviceTlbLookup => $"looks iova:0x{detail:x} up in its TLB",
        SimStep.DeviceTlbFill => $"fills its TLB: iova:0x{detail:x}",
        SimStep.TlbLookup => $"looks iova:0x{detail:x} up in the core's TLB",
        SimStep.TlbFill => $"fills the core's TLB: iova:0x{detail:x}",
        SimStep.InterruptSend => $"interrupts core {detail}",
        SimStep.InterruptAcknowledge => $"core {detail} has forgotten",
        _ => null,
    };
}
