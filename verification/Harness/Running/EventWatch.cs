using Harness.Foreign;
using IommuSim;
using Platform;
using Vcmm;
using Vcmm.Spec;
using Vcmm.Vtd;

namespace Harness.Running;

/// <summary>
/// The interrupts of the IOMMU itself: takes them, and knows whether each that is due has come (I12), and none that is not (I13).
/// </summary>
/// <remarks>
/// <para>Somebody had the IOMMU before, and has left all of its events on: nothing may go where he listened.</para>
/// <para><b>Source.</b> Intel VT-d specification, "Fault Status Register" (FSTS, 34h), "Page Request Queue Head and Tail Register" (C0h, C8h), "Page Request
/// Status Register" (PRS, DCh), and the event registers: FECTL 38h, IECTL A0h, PECTL E0h, and data and address behind each; the mask is bit 31.</para>
/// <para><b>Threads.</b> Any number at once.</para>
/// </remarks>
public sealed class EventWatch
{
    private const uint FaultStatus = 0x34, PageRequestHead = 0xC0, PageRequestTail = 0xC8, PageRequestStatus = 0xDC;
    private const uint FaultBits = 0x73, PageRequestBits = 3;

    private static readonly uint[] Controls = [0x38, 0xA0, 0xE0];
    private static readonly InterruptMessage Former = new(new(0xFEE0_F000), 0xF0);
    private static readonly Dictionary<VtdEvent, InterruptMessage> Messages = new()
    {
        [VtdEvent.Fault] = new(new(0xFEE0_1000), 0x41),
        [VtdEvent.PageRequest] = new(new(0xFEE0_2000), 0x42),
    };

    private readonly IMmio _registers;
    private readonly bool _hasPageRequests;
    private readonly object _gate = new();
    private readonly HashSet<VtdEvent> _enabled = [];
    private readonly HashSet<VtdEvent> _arrived = [];
    private readonly HashSet<VtdEvent> _handled = [];
    private readonly List<InterruptMessage> _strays = [];

    private EventWatch(IVtdMachine machine, VtdOptions options)
    {
        _registers = machine.Registers;
        _hasPageRequests = options.PageRequests;
    }

    /// <summary>Listens from here on, where somebody else has listened before; null: nobody can.</summary>
    /// <param name="machine">The machine.</param>
    /// <param name="options">What its IOMMU can do.</param>
    public static EventWatch? TryListen(IVtdMachine machine, VtdOptions options)
    {
        var watch = new EventWatch(machine, options);
        if (!machine.TryListen(watch.Take)) return null;
        foreach (uint control in Controls)
        {
            machine.Registers.Write32(control + 4, Former.Data);
            machine.Registers.Write32(control + 8, (uint)Former.Address.Value);
            machine.Registers.Write32(control, 0);
        }

        return watch;
    }

    /// <summary>How many interrupts were taken.</summary>
    public int Count { get; private set; }

    /// <summary>Whether an interrupt has come that nobody sees to.</summary>
    public bool HasArrived
    {
        get
        {
            lock (_gate) return _arrived.Any(source => !_handled.Contains(source));
        }
    }

    /// <summary>An event is told from here on; what is pending is told at once.</summary>
    /// <param name="driver">Whose event it is.</param>
    /// <param name="source">Which.</param>
    public void Enable(VtdDriver<PortMemory> driver, VtdEvent source)
    {
        lock (_gate) _enabled.Add(source);
        driver.EnableEvent(source, Messages[source].Address, Messages[source].Data);
    }

    /// <summary>An event is told no more.</summary>
    /// <param name="driver">Whose event it is.</param>
    /// <param name="source">Which.</param>
    public void Disable(VtdDriver<PortMemory> driver, VtdEvent source)
    {
        driver.DisableEvent(source);
        lock (_gate) _enabled.Remove(source);
    }

    /// <summary>Whether the interrupt of an event has come; whoever asks sees to it, up to <see cref="End"/>, and nobody else meanwhile.</summary>
    public bool TryBegin(VtdEvent source)
    {
        lock (_gate)
        {
            if (_handled.Contains(source) || !_arrived.Remove(source)) return false;
            return _handled.Add(source);
        }
    }

    /// <summary>What an event was about has been seen to.</summary>
    public void End(VtdEvent source)
    {
        lock (_gate) _handled.Remove(source);
    }

    /// <summary>What is wrong between two operations.</summary>
    public IEnumerable<Violation> Check()
    {
        lock (_gate)
        {
            if (_strays.Count != 0)
            {
                InterruptMessage stray = _strays[0];
                _strays.Clear();
                yield return new(Invariant.FaultExact, $"the IOMMU wrote 0x{stray.Data:x} to {stray.Address}", "it interrupts where somebody listens, and for what is not masked");
            }
        }

        if (IsMissing(VtdEvent.Fault) && (_registers.Read32(FaultStatus) & FaultBits) is not 0 and var faults)
            yield return new(Invariant.Progress, $"the fault status is 0x{faults:x}, and no interrupt has come", "what is pending and not masked has interrupted");
        if (!IsMissing(VtdEvent.PageRequest)) yield break;
        uint requests = _registers.Read32(PageRequestStatus) & PageRequestBits;
        ulong head = _registers.Read64(PageRequestHead), tail = _registers.Read64(PageRequestTail);
        if (requests != 0 || head != tail)
            yield return new(Invariant.Progress, $"the page request status is 0x{requests:x}, the queue goes from 0x{head:x} to 0x{tail:x}, and no interrupt has come", "what is pending and not masked has interrupted");
    }

    /// <summary>The events that there are.</summary>
    public IEnumerable<VtdEvent> Sources => _hasPageRequests ? [VtdEvent.Fault, VtdEvent.PageRequest] : [VtdEvent.Fault];

    /// <summary>Whether an interrupt would have to be there if anything is pending.</summary>
    private bool IsMissing(VtdEvent source)
    {
        lock (_gate) return _enabled.Contains(source) && !_arrived.Contains(source);
    }

    private void Take(InterruptMessage message)
    {
        lock (_gate)
        {
            Count++;
            foreach ((VtdEvent source, InterruptMessage own) in Messages)
            {
                if (message != own) continue;
                _arrived.Add(source);
                if (_enabled.Contains(source)) return;
            }

            _strays.Add(message);
        }
    }
}
