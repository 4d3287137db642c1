namespace Vcmm.Spec;

/// <summary>What the model must know of the CPU.</summary>
/// <param name="CoreCount">Cores <c>c0</c> ….</param>
/// <param name="ProcessCount">Address spaces <c>p0</c> …, each of which a region can be.</param>
/// <param name="Table">The tables that cores walk.</param>
public sealed record CpuModel(int CoreCount, int ProcessCount, TableModel Table)
{
    /// <summary>None.</summary>
    public static CpuModel None { get; } = new(0, 0, new(TableKind.FirstStage, 0));
}

/// <summary>What the CPU has been made to do for its mappings so far.</summary>
/// <param name="Shootdowns">How often cores were made to forget.</param>
/// <param name="Interrupts">How many interrupts that took.</param>
/// <param name="EntryWrites">How many entries of its tables were written.</param>
public readonly record struct CpuCost(long Shootdowns, long Interrupts, long EntryWrites)
{
    /// <summary><c>3 shootdowns, 4 interrupts, 9 entries written</c>.</summary>
    public override string ToString() => $"{Shootdowns} shootdowns, {Interrupts} interrupts, {EntryWrites} entries written";
}

// The CPU as one more association: its address spaces are processes, and any core may run in any of them.
public sealed partial record World
{
    /// <summary>The CPU.</summary>
    public CpuModel Cpu { get; internal init; } = CpuModel.None;

    /// <summary>The processes.</summary>
    public IEnumerable<ObjectId> Processes => Enumerable.Range(0, Cpu.ProcessCount).Select(static number => new ObjectId(ObjectKind.Process, number));

    /// <summary>The cores.</summary>
    public IEnumerable<ObjectId> Cores => Enumerable.Range(0, Cpu.CoreCount).Select(static number => new ObjectId(ObjectKind.Core, number));

    /// <summary>The world with a CPU.</summary>
    public World With(CpuModel cpu) => this with { Cpu = cpu };

    /// <summary>
    /// Whether an operation may cost the CPU something: it works on a region that a process is associated with, or on one whose table such a
    /// region has adopted, or it flushes for such a region, or gives faults to a hook that may back there. Nothing else may write a CPU table or interrupt a core.
    /// </summary>
    /// <param name="operation">Its objects are known.</param>
    public bool MayCostCpu(Operation operation)
    {
        // What waits for a flush may be from when the region had one.
        if (Quarantine.Exists(waiting => HasProcess(Reservations[waiting.Reservation].Vcm, orHad: true))) return true;
        // A hook may back where its device waits.
        if (operation is DispatchFaults && Associations.Values.Any(association => association.IsActive && Hooked.Contains(association.Device) && HasProcess(association.Vcm))) return true;
        return operation.Uses.Any(id => id.Kind switch
        {
            ObjectKind.Vcm => HasProcess(id),
            ObjectKind.Bound => HasProcess(Bounds[id].Vcm),
            ObjectKind.Reservation => HasProcess(Reservations[id].Vcm),
            ObjectKind.Association => HasProcess(Associations[id].Vcm),
            ObjectKind.Process => true,
            _ => false,
        });
    }

    /// <summary>Accepts what an operation has cost the CPU, or not.</summary>
    /// <param name="operation">Its objects are known.</param>
    /// <param name="cost">What it has cost.</param>
    public Verdict<World> JudgeCost(Operation operation, CpuCost cost) => cost == default || MayCostCpu(operation)
        ? Accept(this)
        : Refuse(Invariant.OneSided, $"it cost the CPU {cost}; no process is associated with what it works on, so that it costs nothing", this);

    /// <summary>Whether a process has the table of the region, or had it and devices have it still: it is counted as the CPU's for as long as it is there.</summary>
    private bool HasProcess(ObjectId vcm, bool orHad = false)
    {
        ObjectId owner = OwnerOf(vcm);
        return Associations.Values.Any(association => association.Device.Kind == ObjectKind.Process && OwnerOf(association.Vcm) == owner
            && (orHad || !association.IsDropped || TablesOf(owner).Contains(association.Kind)));
    }

    private Verdict<World> Judge(CoreAccess access, Observation seen)
    {
        // What the core reaches is what any user of the process's address space may. A page fault is the operating system's, and is told to no hook.
        Verdict<World> verdict = Judge(new DeviceAccess(access.Process, access.Address, access.Kind), seen);
        return verdict.IsAccepted ? Accept(Noted(new(access.Process, access.Address, access.Kind), isDone: seen.Outcome == Outcome.None)) : Refuse(verdict.Broken, $"{access.Core} in {verdict.Sentence}");
    }

    private Verdict<World> Judge(GoIdle _, Observation seen) => new Refusals().Decide(this, seen.Outcome) ?? Accept(this);
}
