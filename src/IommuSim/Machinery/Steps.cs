namespace IommuSim;

/// <summary>The atomic steps of which the simulated hardware is made; another agent's step may fall between any two of them.</summary>
public enum SimStep
{
    /// <summary>An access begins: the root pointer is sampled and the context cache looked up. Detail: requester id.</summary>
    ContextLookup,

    /// <summary>A root or context entry is read from memory. Detail: its physical address.</summary>
    ContextFetch,

    /// <summary>A fetched context entry is put into the context cache. Detail: requester id.</summary>
    ContextFill,

    /// <summary>The PASID cache is looked up. Detail: the PASID.</summary>
    PasidLookup,

    /// <summary>A PASID directory or table entry is read from memory. Detail: its physical address.</summary>
    PasidFetch,

    /// <summary>A fetched PASID table entry is put into the PASID cache. Detail: the PASID.</summary>
    PasidFill,

    /// <summary>The IOTLB is looked up. Detail: the iova.</summary>
    IotlbLookup,

    /// <summary>
    /// The paging-structure caches are looked up. Detail: the iova; in the second stage of nested translation, here and below, the
    /// guest-physical address.
    /// </summary>
    WalkCacheLookup,

    /// <summary>A paging entry is read from memory. Detail: its physical address.</summary>
    WalkRead,

    /// <summary>
    /// Accessed and dirty flags of a paging entry are set by compare-and-swap, so that the step happens only if the entry is
    /// as it was read. Detail: its physical address.
    /// </summary>
    FlagUpdate,

    /// <summary>A paging entry is put into a paging-structure cache. Detail: the iova.</summary>
    WalkCacheFill,

    /// <summary>A translation is put into the IOTLB. Detail: the iova.</summary>
    IotlbFill,

    /// <summary>A device reads or writes memory with a translated address. Detail: the physical address.</summary>
    MemoryAccess,

    /// <summary>A fault is recorded. Detail: the iova.</summary>
    FaultRecord,

    /// <summary>A device looks into its own TLB. Detail: the iova.</summary>
    DeviceTlbLookup,

    /// <summary>A translation arrives at the device that asked for it. Detail: the iova.</summary>
    DeviceTlbFill,

    /// <summary>A page request, on its way, reaches the unit. Detail: the iova.</summary>
    PageRequest,

    /// <summary>An invalidation descriptor is read from memory. Detail: its physical address.</summary>
    CommandFetch,

    /// <summary>An invalidation descriptor takes effect. Detail: its low 64 bits.</summary>
    CommandExecute,

    /// <summary>A wait descriptor writes its status. Detail: the physical address.</summary>
    StatusWrite,

    /// <summary>A core looks into its TLB. Detail: the linear address.</summary>
    TlbLookup,

    /// <summary>A translation is put into a core's TLB. Detail: the linear address.</summary>
    TlbFill,

    /// <summary>A core is given another table or address space. Detail: the table, or the core's number.</summary>
    RootLoad,

    /// <summary>A core is interrupted. Detail: its number.</summary>
    InterruptSend,

    /// <summary>A core takes an interrupt and forgets what it was told to. Detail: its number.</summary>
    InterruptTake,

    /// <summary>A core says that it has forgotten. Detail: its number.</summary>
    InterruptAcknowledge,

    /// <summary>A broadcast reaches the caches of a core. Detail: its number.</summary>
    BroadcastReceive,
}

/// <summary>
/// The interleaving seam: the simulator calls <see cref="At"/> before each atomic step, with no lock held, so that a
/// controlled scheduler can run another agent there. Implement it as a struct; <see cref="NoSteps"/> is erased by the JIT.
/// </summary>
public interface ISteps
{
    /// <summary>Called before the step happens.</summary>
    /// <param name="step">Which step.</param>
    /// <param name="detail">What it is about; see <see cref="SimStep"/>.</param>
    void At(SimStep step, ulong detail);
}

/// <summary>The seam of production: nothing happens between steps.</summary>
public readonly struct NoSteps : ISteps
{
    /// <inheritdoc/>
    public void At(SimStep step, ulong detail)
    {
    }
}
