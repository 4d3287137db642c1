using Platform;

namespace Vcmm.Vtd;

/// <summary>The registers that say where the interrupt of an event goes, and whether it does.</summary>
/// <remarks>
/// <para>An event that comes up while it is masked is kept by the hardware, and goes out when the mask goes: the message is written before.</para>
/// <para><b>Threads.</b> Any number at once.</para>
/// <para><b>Source.</b> VT-d specification, "Fault Event Control Register" and the registers behind it, and those of the other events.</para>
/// </remarks>
internal sealed class EventRegisters(IMmio registers)
{
    private const uint Mask = 1u << 31;
    private const int EventCount = 3;

    // Behind the control register.
    private const uint Data = 4, Address = 8, UpperAddress = 12;

    [LockRank(LockRank.Faults)]
    private readonly object _gate = new();
    private readonly bool[] _isEnabled = new bool[EventCount];

    public void Enable(VtdEvent source, PhysAddr address, uint data)
    {
        lock (_gate)
        {
            uint control = ControlOf(source);
            SetMask(control, isMasked: true);
            registers.Write32(control + Data, data);
            registers.Write32(control + Address, (uint)(address.Value & uint.MaxValue));
            registers.Write32(control + UpperAddress, (uint)(address.Value >> 32));
            SetMask(control, isMasked: false);
            _isEnabled[(int)source] = true;
        }
    }

    public void Disable(VtdEvent source)
    {
        lock (_gate)
        {
            SetMask(ControlOf(source), isMasked: true);
            _isEnabled[(int)source] = false;
        }
    }

    /// <summary>Masks an event that somebody else may have enabled, who does not listen any more.</summary>
    public void MaskFormer(VtdEvent source)
    {
        lock (_gate) SetMask(ControlOf(source), isMasked: true);
    }

    /// <summary>Nobody listens any more.</summary>
    public void DisableAll()
    {
        for (int i = 0; i < EventCount; i++)
        {
            if (_isEnabled[i]) Disable((VtdEvent)i);
        }
    }

    private void SetMask(uint control, bool isMasked)
    {
        uint value = registers.Read32(control);
        registers.Write32(control, isMasked ? value | Mask : value & ~Mask);
    }

    private static uint ControlOf(VtdEvent source) => source switch
    {
        VtdEvent.Fault => VtdRegisters.FaultEventControl,
        VtdEvent.InvalidationCompletion => VtdRegisters.CompletionEventControl,
        _ => VtdRegisters.PageRequestEventControl,
    };
}
