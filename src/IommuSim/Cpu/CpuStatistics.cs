namespace IommuSim.Cpu;

/// <summary>What cores have done since they were made.</summary>
public record struct CpuStatistics
{
    /// <summary>Addresses that were translated, one for each page touched.</summary>
    public long Translations { get; internal set; }

    /// <summary>Those that the TLB answered, faults of rights included.</summary>
    public long TlbHits { get; internal set; }

    /// <summary>Those that went to the tables.</summary>
    public long Walks { get; internal set; }

    /// <summary>Walks that began below the first level.</summary>
    public long PagingStructureHits { get; internal set; }

    /// <summary>Fills thrown away because a broadcast came between the read of the entry and the fill.</summary>
    public long DiscardedFills { get; internal set; }

    /// <summary>Page faults.</summary>
    public long PageFaults { get; internal set; }

    /// <summary>Accessed and dirty flags that were set, one for each write of an entry.</summary>
    public long FlagUpdates { get; internal set; }

    /// <summary>Such writes that found that software had changed the entry.</summary>
    public long FlagUpdatesLost { get; internal set; }

    /// <summary>Loads of CR3 and re-entries of an address space, those that forget nothing included.</summary>
    public long Switches { get; internal set; }

    /// <summary>Of them, those that made up for a shootdown which did not interrupt the core.</summary>
    public long SwitchFlushes { get; internal set; }

    /// <summary>Shootdowns, those of unloads included.</summary>
    public long Shootdowns { get; internal set; }

    /// <summary>Ranges and address spaces that shootdowns named: several are one batch.</summary>
    public long Flushes { get; internal set; }

    /// <summary>Interrupts that were sent. A core that has one pending is sent no other.</summary>
    public long Interrupts { get; internal set; }

    /// <summary>Requests that cores took with them, and acknowledged.</summary>
    public long Acknowledgements { get; internal set; }

    /// <summary>Times that a shootdown left a core alone until its next switch.</summary>
    public long Deferrals { get; internal set; }

    /// <summary>Times that a broadcast reached a core.</summary>
    public long Broadcasts { get; internal set; }

    /// <summary>Pages that cores were told to forget one by one (INVLPG, INVPCID type 0).</summary>
    public long PageInvalidations { get; internal set; }

    /// <summary>Times that a core was told to forget a whole address space or more.</summary>
    public long ContextInvalidations { get; internal set; }

    /// <summary>Adds what a core has counted: all but shootdowns, which are the cluster's.</summary>
    internal void Add(in CpuStatistics other)
    {
        Translations += other.Translations;
        TlbHits += other.TlbHits;
        Walks += other.Walks;
        PagingStructureHits += other.PagingStructureHits;
        DiscardedFills += other.DiscardedFills;
        PageFaults += other.PageFaults;
        FlagUpdates += other.FlagUpdates;
        FlagUpdatesLost += other.FlagUpdatesLost;
        Switches += other.Switches;
        SwitchFlushes += other.SwitchFlushes;
        Interrupts += other.Interrupts;
        Acknowledgements += other.Acknowledgements;
        Deferrals += other.Deferrals;
        Broadcasts += other.Broadcasts;
        PageInvalidations += other.PageInvalidations;
        ContextInvalidations += other.ContextInvalidations;
    }
}
