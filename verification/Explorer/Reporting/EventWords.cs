using System.Text.RegularExpressions;
using Explorer.Machines;
using Explorer.Scheduling;
using IommuSim;

namespace Explorer.Reporting;

/// <summary>What agents do, in words.</summary>
/// <remarks>
/// Told are calls and returns, what devices move, entries of tables that are changed and walked through in this schedule, fills and hits of caches,
/// commands, and faults. Not told, but by <see cref="Plain"/>, are the words of the command queue, and walks through entries that nobody changes.
/// </remarks>
/// <param name="events">The whole schedule.</param>
internal sealed partial class EventWords(IReadOnlyList<ScheduleEvent> events)
{
    private const ulong DescriptorTypeMask = 0xf;

    private readonly HashSet<ulong> _entries = SharedEntries(events);

    /// <summary>What it is that matters; null: it is left out.</summary>
    public string? Of(ScheduleEvent e) => e.Kind switch
    {
        // Setting up is told in one row a call.
        EventKind.Return when e.Agent == Attempt.SetUpAgent => e.Text,
        EventKind.Violation => "! " + e.Text![..e.Text!.IndexOf(':', StringComparison.Ordinal)],
        _ when e.Agent == Attempt.SetUpAgent => null,
        EventKind.Call => e.Text + " …",
        EventKind.Return => "… " + e.Text![e.Text!.LastIndexOf('=')..],
        EventKind.Device => $"{e.Text} pa:0x{e.Value:x}",
        EventKind.MemoryWrite when _entries.Contains(e.Detail) => $"entry pa:0x{e.Detail:x} := 0x{e.Value:x}",
        EventKind.MemoryBuffered when _entries.Contains(e.Detail) => $"buffers pa:0x{e.Detail:x} := 0x{e.Value:x}",
        EventKind.MemoryRead when _entries.Contains(e.Detail) => $"walks: entry pa:0x{e.Detail:x} is 0x{e.Value:x}",
        EventKind.Hardware => Of((SimStep)e.Detail, e.Value),
        _ => null,
    };

    /// <summary>What it is, whether or not it matters.</summary>
    public static string Plain(ScheduleEvent e) => e.Kind switch
    {
        EventKind.MemoryWrite => $"pa:0x{e.Detail:x} := 0x{e.Value:x}",
        EventKind.MemoryBuffered => $"buffers pa:0x{e.Detail:x} := 0x{e.Value:x}",
        EventKind.MemoryRead => $"pa:0x{e.Detail:x} is 0x{e.Value:x}",
        EventKind.Hardware => $"{InWords((SimStep)e.Detail)} 0x{e.Value:x}",
        _ => e.Text ?? $"{e.Kind}",
    };

    private static string InWords(SimStep step) => Capital().Replace($"{step}", static match => (match.Index == 0 ? "" : " ") + match.Value.ToLowerInvariant());

    [GeneratedRegex("[A-Z]")]
    private static partial Regex Capital();

    private static string? Of(SimStep step, ulong detail) => step switch
    {
        SimStep.IotlbLookup => $"looks iova:0x{detail:x} up in the IOTLB",
        SimStep.IotlbFill => $"fills the IOTLB: iova:0x{detail:x}",
        SimStep.FaultRecord => $"records a fault at iova:0x{detail:x}",
        SimStep.CommandExecute => (detail & DescriptorTypeMask) switch
        {
            1 => "invalidates the context cache",
            2 => "invalidates the IOTLB",
            3 or 8 => "invalidates the TLB of a device",
            5 => "waits for what is under way",
            6 => "invalidates the IOTLB of a PASID",
            7 => "invalidates the PASID cache",
            9 => "answers page requests",
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

    /// <summary>Words that are changed beside the walks that read them. A device's walk runs in the device's lane.</summary>
    private static HashSet<ulong> SharedEntries(IReadOnlyList<ScheduleEvent> events)
    {
        HashSet<ulong> changed = [.. events.Where(e => e is { Kind: EventKind.MemoryWrite or EventKind.MemoryBuffered } && e.Agent != Attempt.SetUpAgent).Select(e => e.Detail)];
        changed.IntersectWith(events.Where(e => e.Kind == EventKind.MemoryRead && e.Agent != CommandPump.Agent).Select(e => e.Detail));
        return changed;
    }
}
