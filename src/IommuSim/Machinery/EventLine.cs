namespace IommuSim.Machinery;

/// <summary>For which of its conditions an event sends a message.</summary>
internal enum MessageRule : byte
{
    /// <summary>For the first: while any condition is up that software has not served, no other sends one.</summary>
    /// <remarks><b>Source.</b> Intel VT-d specification, Non-Recoverable Fault Event, Recoverable Fault Event, Hardware Generation of
    /// Invalidation Completion Events; RISC-V IOMMU specification 1.0, <c>ipsr</c>: one condition for each source.</remarks>
    First,

    /// <summary>For each that comes up.</summary>
    /// <remarks><b>Source.</b> Arm SMMUv3 architecture specification (IHI 0070), 3.18.2 Interrupt sources: a global error that is activated.</remarks>
    Each,
}

/// <summary>What becomes of a message that must not be sent now.</summary>
internal enum MaskRule : byte
{
    /// <summary>It stays pending, and goes when the mask goes, unless software has served all that it was about.</summary>
    /// <remarks><b>Source.</b> Intel VT-d specification, Fault Event Control Register (IM, IP); PCI Express base specification, Per-vector
    /// Masking and Function Masking, whose rule the table of messages of the RISC-V IOMMU has (<c>msi_vec_ctl</c>).</remarks>
    KeepsPending,

    /// <summary>It is never sent.</summary>
    /// <remarks><b>Source.</b> Arm SMMUv3 architecture specification (IHI 0070), 3.18.2: an interrupt source that is not enabled
    /// (SMMU_IRQ_CTRL) sends nothing; sources are transient events and have no pending state.</remarks>
    Drops,
}

/// <summary>Conditions that software is told of by a message.</summary>
/// <remarks><b>Threads.</b> Under the unit's lock.</remarks>
internal sealed class EventLine(MessageOutbox outbox, MessageRule rule, MaskRule maskRule)
{
    private bool _isMasked = true;

    /// <summary>What is sent.</summary>
    public InterruptMessage Message { get; set; }

    /// <summary>The conditions that are up, as bits that the interface chooses.</summary>
    public uint Conditions { get; private set; }

    /// <summary>Whether a message waits for the mask to go.</summary>
    public bool IsPending { get; private set; }

    /// <summary>Whether messages are held back; so it is after reset. A message that is pending goes out when the mask goes.</summary>
    public bool IsMasked
    {
        get => _isMasked;
        set
        {
            _isMasked = value;
            if (value || !IsPending) return;
            IsPending = false;
            outbox.Add(Message);
        }
    }

    /// <summary>Whether any of the conditions is up.</summary>
    public bool IsUp(uint conditions) => (Conditions & conditions) != 0;

    /// <summary>Conditions come up; those that are up already stay so.</summary>
    public void Raise(uint conditions)
    {
        uint risen = conditions & ~Conditions;
        bool isTold = risen != 0 && (rule == MessageRule.Each || Conditions == 0);
        Conditions |= conditions;
        if (!isTold) return;
        if (!_isMasked) outbox.Add(Message);
        else if (maskRule == MaskRule.KeepsPending) IsPending = true;
    }

    /// <summary>Software has served conditions: with the last of them goes the message that is pending.</summary>
    public void Serve(uint conditions)
    {
        Conditions &= ~conditions;
        if (Conditions == 0) IsPending = false;
    }
}
