using System.Runtime.InteropServices;
using IommuSim;
using Microsoft.Coyote.Rewriting;

namespace Explorer.Scheduling;

/// <summary>
/// Tells schedules apart by what happened before what: two of them behave alike if they differ only in the order of steps that have nothing
/// to do with each other.
/// </summary>
/// <remarks>
/// <b>Source.</b> Mazurkiewicz, "Trace Theory", 1987: steps depend on each other if one agent makes both, or if both touch one thing and one of
/// them changes it. Things are words of tables and queues, frames of data, and the caches of the hardware, which are one. What the library only
/// reads is not noted, so that an order which shows in nothing else is not told apart.
/// </remarks>
[SkipRewriting("Looking at a schedule adds no steps to it.")]
public static class HappensBefore
{
    /// <summary>Of addresses: words lie at multiples of four, so no word is it.</summary>
    private const ulong Caches = 1;

    private const ulong FrameMark = 2;

    /// <summary>A number for the behaviour: equal for schedules that behave alike, else different but for one chance in 2^64.</summary>
    /// <param name="events">What was noted in the schedule, in order.</param>
    public static ulong Fingerprint(IReadOnlyList<ScheduleEvent> events)
    {
        var latest = new Dictionary<string, ulong>(StringComparer.Ordinal);
        var changed = new Dictionary<ulong, ulong>();
        foreach (ScheduleEvent e in events)
        {
            ref ulong before = ref CollectionsMarshal.GetValueRefOrAddDefault(latest, e.Agent, out bool isKnown);
            if (!isKnown) before = Hash(0, e.Agent);
            ulong step = Hash(Mix(Mix(Mix(before, (ulong)e.Kind), e.Detail), e.Value), e.Text ?? "");
            if (Touches(e) is var (thing, changes))
            {
                // A look says which change it saw; so it comes after that one and before the next.
                step = Mix(step, changed.GetValueOrDefault(thing));
                if (changes) changed[thing] = step;
            }

            before = step;
        }

        ulong all = 0;
        foreach (ulong last in latest.Values) all = unchecked(all + Mix(last, 0));
        return all;
    }

    /// <summary>What a step touches beside its agent; null: nothing.</summary>
    private static (ulong Thing, bool Changes)? Touches(ScheduleEvent e) => e.Kind switch
    {
        EventKind.MemoryRead => (e.Detail, false),
        EventKind.MemoryWrite => (e.Detail, true),
        EventKind.Device => (e.Value | FrameMark, e.Text == "writes"),
        EventKind.Hardware => (SimStep)e.Detail switch
        {
            SimStep.ContextLookup or SimStep.PasidLookup or SimStep.IotlbLookup or SimStep.WalkCacheLookup or SimStep.DeviceTlbLookup or SimStep.TlbLookup => (Caches, false),
            // These are words, noted as such, and the bytes of a device.
            SimStep.ContextFetch or SimStep.PasidFetch or SimStep.WalkRead or SimStep.FlagUpdate or SimStep.CommandFetch or SimStep.StatusWrite or SimStep.MemoryAccess => null,
            _ => (Caches, true),
        },
        _ => null,
    };

    private static ulong Hash(ulong state, string text)
    {
        foreach (char c in text) state = Mix(state, c);
        return state;
    }

    // The finalizer of SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014) over both.
    private static ulong Mix(ulong state, ulong value)
    {
        unchecked
        {
            ulong mixed = (state * 0x9E37_79B9_7F4A_7C15UL) + value + 1;
            mixed = (mixed ^ (mixed >> 30)) * 0xBF58_476D_1CE4_E5B9UL;
            mixed = (mixed ^ (mixed >> 27)) * 0x94D0_49BB_1331_11EBUL;
            return mixed ^ (mixed >> 31);
        }
    }
}
