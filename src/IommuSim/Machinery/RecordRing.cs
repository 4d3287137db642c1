using Platform;

namespace IommuSim.Machinery;

/// <summary>What a ring of records does while software has not acknowledged that one was lost.</summary>
internal enum OverflowRule : byte
{
    /// <summary>Nothing more is recorded.</summary>
    /// <remarks><b>Source.</b> Intel VT-d specification, Page Request Status Register, PRO; RISC-V IOMMU specification 1.0, <c>fqof</c> and
    /// <c>pqof</c>; AMD I/O Virtualization Technology specification (48882), IOMMU Status Register, EventOverflow; Arm SMMUv3 architecture
    /// specification (IHI 0070), 8.1 PRI queue overflow.</remarks>
    Stops,

    /// <summary>What there is room for is recorded. A second overflow cannot be told from the first.</summary>
    /// <remarks><b>Source.</b> Arm SMMUv3 architecture specification (IHI 0070), 7.4 Event queue overflow.</remarks>
    GoesOn,
}

/// <summary>What becomes of a record whose place is where no memory is.</summary>
internal enum AbsentPlaceRule : byte
{
    /// <summary>It goes nowhere, and the ring goes on.</summary>
    /// <remarks><b>Source.</b> Intel VT-d specification, Page Request Queue Address Register, knows no error of it.</remarks>
    GoesOn,

    /// <summary>It is lost, and the producer stays where it is. Software is told, and nothing is recorded until it has acknowledged that.</summary>
    /// <remarks><b>Source.</b> Arm SMMUv3 architecture specification (IHI 0070), 7.2.2 Event queue access external abort (a synchronous one);
    /// RISC-V IOMMU specification 1.0, <c>fqmf</c> and <c>pqmf</c>.</remarks>
    Aborts,
}

/// <summary>A ring of records: the hardware writes faults, events or page requests, and software takes them.</summary>
/// <remarks>
/// <para><b>Source.</b> <see cref="OverflowRule"/>, <see cref="AbsentPlaceRule"/> and <see cref="RingPositions"/> name the documents.</para>
/// <para><b>Threads.</b> Under the unit's lock.</para>
/// </remarks>
internal sealed class RecordRing(RingLayout layout, OverflowRule rule, AbsentPlaceRule absentPlace = AbsentPlaceRule.GoesOn)
{
    private RingLayout _layout = layout;
    private ulong _producer;
    private ulong _consumer;

    /// <summary>Where the next record goes.</summary>
    public ulong Producer
    {
        get => _producer;
        set => _producer = value;
    }

    /// <summary>The first record that software has not taken.</summary>
    public ulong Consumer
    {
        get => _consumer;
        set => _consumer = value;
    }

    public bool IsEmpty => _producer == _consumer;

    public void Place(in RingLayout layout) => _layout = layout;

    /// <summary>A record is to be written; not while software has not acknowledged that one was <see cref="RecordOutcome.Aborted"/>.</summary>
    /// <param name="memory">Where to.</param>
    /// <param name="record">Its words.</param>
    /// <param name="isOverflowed">Whether one was lost, and software has not acknowledged it: whoever tells software of it knows.</param>
    public RecordOutcome Add<TMemory>(TMemory memory, ReadOnlySpan<ulong> record, bool isOverflowed)
        where TMemory : struct, IPhysicalMemory
    {
        if (isOverflowed && rule == OverflowRule.Stops) return RecordOutcome.Lost;
        if (_layout.IsFull(_producer, _consumer)) return isOverflowed ? RecordOutcome.Lost : RecordOutcome.Overflowed;

        PhysAddr at = _layout.AddressOf(_producer);
        if (memory.Contains(PhysRange.FromLength(at, (ulong)record.Length * sizeof(ulong))))
        {
            for (int i = 0; i < record.Length; i++) memory.Write64(new(at.Value + (ulong)i * sizeof(ulong)), record[i]);
        }
        else if (absentPlace == AbsentPlaceRule.Aborts)
        {
            return RecordOutcome.Aborted;
        }

        // Behind the record: who sees the position finds it.
        _producer = _layout.Next(_producer);
        return RecordOutcome.Kept;
    }
}
