using Harness.Passing;
using Vcmm;
using Vcmm.Vtd;

namespace Harness.Running;

/// <summary>An IOMMU whose faults come from the driver's handlers, which are called when an interrupt has come, and not else.</summary>
/// <param name="driver">The driver.</param>
/// <param name="watch">Knows of the interrupts.</param>
public sealed class HandlingIommu(VtdDriver<PortMemory> driver, EventWatch watch) : PassingIommu(driver)
{
    private readonly Queue<DeviceFault> _taken = [];
    private readonly object _gate = new();
    private bool _hasOverflowed;

    /// <summary>Whether faults were lost since that was asked.</summary>
    public bool TakeOverflow()
    {
        lock (_gate)
        {
            bool hasOverflowed = _hasOverflowed;
            _hasOverflowed = false;
            return hasOverflowed;
        }
    }

    /// <inheritdoc/>
    public override bool TryTakeFault(out DeviceFault fault)
    {
        if (TryDequeue(out fault)) return true;
        foreach (VtdEvent source in watch.Sources) Handle(source);
        return TryDequeue(out fault);
    }

    private bool TryDequeue(out DeviceFault fault)
    {
        lock (_gate) return _taken.TryDequeue(out fault);
    }

    // The driver is called with no lock held: under a controlled schedule it may wait.
    private void Handle(VtdEvent source)
    {
        if (!watch.TryBegin(source)) return;
        try
        {
            var taken = new List<DeviceFault>();
            // As a handler does that does not want to be called again while it is at it.
            watch.Disable(driver, source);
            bool hasOverflowed = false;
            if (source == VtdEvent.Fault) hasOverflowed = driver.HandleFaultEvent(taken).HasOverflowed;
            else driver.HandlePageRequestEvent(taken);
            lock (_gate)
            {
                _hasOverflowed |= hasOverflowed;
                foreach (DeviceFault fault in taken) _taken.Enqueue(fault);
            }

            watch.Enable(driver, source);
        }
        finally
        {
            watch.End(source);
        }
    }
}
