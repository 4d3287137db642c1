using Platform;

namespace IommuSim.Cpu;

/// <summary>
/// Simulated x86-64 cores with one memory, the address spaces that they run in, and shootdowns: what a kernel does so that no core uses a
/// translation that was taken away.
/// </summary>
/// <remarks>
/// <para><b>Source.</b> Intel SDM, volume 3A, "Propagation of Paging-Structure Changes to Multiple Processors": software may let a core that
/// cannot use a translation forget it later. Here that is a core that is not in the address space, or that is idle in it while no
/// table ended: it forgets at its next switch (<see cref="Enter"/>).</para>
/// <para><b>Waiting.</b> Nothing ever blocks. A shootdown is complete when <see cref="CpuShootdown.IsComplete"/> says so.</para>
/// <para><b>Threads.</b> Any number at once; for one core's <see cref="Enter"/> and <see cref="GoIdle"/> as for what it executes.</para>
/// </remarks>
/// <typeparam name="TMemory">Where tables and data are.</typeparam>
/// <typeparam name="TSteps">The interleaving seam.</typeparam>
public sealed class CpuCluster<TMemory, TSteps>
    where TMemory : struct, IPhysicalMemory
    where TSteps : struct, ISteps
{
    private readonly object _gate = new();
    private readonly TSteps _steps;
    private readonly Dictionary<uint, CpuAddressSpace> _spaces = [];
    private readonly CpuCore<TMemory, TSteps>[] _cores;
    private CpuStatistics _counts;

    /// <summary>Cores after reset: they run on a table that maps nothing.</summary>
    /// <param name="memory">Where tables and data are.</param>
    /// <param name="options">What the cores can do.</param>
    /// <param name="steps">The interleaving seam.</param>
    /// <exception cref="ArgumentException">An option is outside its range; the message names it.</exception>
    public CpuCluster(TMemory memory, CpuOptions options, TSteps steps = default)
    {
        ArgumentNullException.ThrowIfNull(options);
        options.Validate();
        Options = options;
        _steps = steps;
        _cores = new CpuCore<TMemory, TSteps>[options.CoreCount];
        for (int i = 0; i < _cores.Length; i++) _cores[i] = new(i, memory, options, steps);
    }

    /// <summary>What the cores can do.</summary>
    public CpuOptions Options { get; }

    /// <summary>The cores, by their numbers.</summary>
    public IReadOnlyList<CpuCore<TMemory, TSteps>> Cores => _cores;

    /// <summary>All of them.</summary>
    public CoreSet AllCores => CoreSet.First(_cores.Length);

    /// <summary>What all cores have done so far.</summary>
    public CpuStatistics Statistics
    {
        get
        {
            CpuStatistics sum;
            lock (_gate) sum = _counts;
            foreach (CpuCore<TMemory, TSteps> core in _cores) sum.Add(core.Statistics);
            return sum;
        }
    }

    /// <summary>Makes an address space that cores can enter.</summary>
    /// <param name="space">Its number.</param>
    /// <param name="root">Its top table: bits 11:0 clear, and below 2^MAXPHYADDR.</param>
    /// <param name="tag">Its tag, of 12 bits where cores tag. Another address space may have it with the same table.</param>
    /// <exception cref="ArgumentException">The root or the tag cannot be loaded.</exception>
    /// <exception cref="InvalidOperationException">The number is in use, or the tag with another table.</exception>
    public void Load(uint space, PhysAddr root, Pcid tag)
    {
        if (!Options.IsTable(root)) throw new ArgumentException($"{root} cannot be loaded into CR3", nameof(root));
        if (Options.ProcessContextIds && tag.Value > Pcid.Last) throw new ArgumentException($"{tag} has more than 12 bits", nameof(tag));
        lock (_gate)
        {
            CpuAddressSpace? same = Find(tag);
            if (_spaces.ContainsKey(space) || (same is not null && same.Root != root)) throw new InvalidOperationException($"address space {space} or {tag} is in use");
            _spaces.Add(space, same ?? new(root, tag, _cores.Length));
        }
    }

    /// <summary>Ends an address space: cores that are in it leave it, and all forget everything of it.</summary>
    /// <param name="space">Its number.</param>
    /// <returns>A shootdown of every core.</returns>
    /// <exception cref="InvalidOperationException">There is none such.</exception>
    public CpuShootdown Unload(uint space)
    {
        CpuShootdown request;
        lock (_gate)
        {
            if (!_spaces.Remove(space, out CpuAddressSpace? ended)) throw new InvalidOperationException($"there is no address space {space}");
            request = new([new(ended.Tag, ended, ++ended.Generation, Range: null, Ends: space)]);
            Count(request);
            if (Options.Shootdown == ShootdownMethod.Interrupt) Post(request, AllCores);
        }

        Deliver(request, AllCores);
        return request;
    }

    /// <summary>A core runs in an address space from now on. What it has cached of an earlier stay it keeps, unless something was to be forgotten since.</summary>
    /// <param name="core">Its number, below <see cref="CpuOptions.CoreCount"/>.</param>
    /// <param name="space">The address space.</param>
    /// <returns>False if there is no such address space; then nothing has changed.</returns>
    /// <exception cref="IndexOutOfRangeException">There is no such core.</exception>
    /// <exception cref="InvalidOperationException">The core is executing on another thread.</exception>
    public bool Enter(int core, uint space)
    {
        CpuCore<TMemory, TSteps> entering = _cores[core];
        entering.TakeInterrupts();
        _steps.At(SimStep.RootLoad, (ulong)core);
        lock (_gate)
        {
            if (!_spaces.TryGetValue(space, out CpuAddressSpace? found)) return false;
            entering.Enter(space, found);
            return true;
        }
    }

    /// <summary>A core has nothing to do in its address space. Its table stays in CR3; what is taken from it, the core forgets when it enters again.</summary>
    /// <param name="core">Its number, below <see cref="CpuOptions.CoreCount"/>.</param>
    /// <exception cref="IndexOutOfRangeException">There is no such core.</exception>
    /// <exception cref="InvalidOperationException">The core is executing on another thread.</exception>
    public void GoIdle(int core)
    {
        _cores[core].TakeInterrupts();
        lock (_gate) _cores[core].GoIdle();
    }

    /// <summary>Whether a core forgets what it has cached under a tag before it uses it again.</summary>
    /// <param name="core">Its number, below <see cref="CpuOptions.CoreCount"/>.</param>
    /// <param name="tag">The tag.</param>
    /// <returns>False also where no address space has the tag.</returns>
    /// <exception cref="IndexOutOfRangeException">There is no such core.</exception>
    public bool OwesFlush(int core, Pcid tag)
    {
        lock (_gate) return Find(tag) is { } space && _cores[core].OwesFlush(space);
    }

    /// <summary>Makes all cores forget, with one interrupt each for however many flushes.</summary>
    /// <param name="flushes">What to forget.</param>
    /// <returns>The shootdown.</returns>
    public CpuShootdown Send(ReadOnlySpan<TlbFlush> flushes) => Send(flushes, AllCores);

    /// <summary>Makes some cores forget; a broadcast reaches them all.</summary>
    /// <param name="flushes">What to forget.</param>
    /// <param name="targets">The cores. Whoever leaves one out that is in the address space says that it has nothing of it.</param>
    /// <returns>The shootdown.</returns>
    public CpuShootdown Send(ReadOnlySpan<TlbFlush> flushes, CoreSet targets)
    {
        var pending = new PendingFlush[flushes.Length];
        CpuShootdown request;
        lock (_gate)
        {
            for (int i = 0; i < pending.Length; i++)
            {
                TlbFlush flush = flushes[i];
                CpuAddressSpace? space = Find(flush.Tag);
                if (space is not null) space.Generation++;
                pending[i] = new(flush.Tag, space, space?.Generation ?? 0, flush.Range, Ends: null, flush.LeavesOnly);
            }

            request = new(pending);
            Count(request);
            // In the order of the generations.
            if (Options.Shootdown == ShootdownMethod.Interrupt) Post(request, targets);
        }

        Deliver(request, targets);
        return request;
    }

    private void Count(CpuShootdown request)
    {
        _counts.Shootdowns++;
        _counts.Flushes += request.Flushes.Length;
    }

    private void Post(CpuShootdown request, CoreSet targets)
    {
        foreach (CpuCore<TMemory, TSteps> core in _cores)
        {
            if (targets.Contains(core.Number)) core.Post(request);
        }
    }

    private void Deliver(CpuShootdown request, CoreSet targets)
    {
        foreach (CpuCore<TMemory, TSteps> core in _cores)
        {
            if (Options.Shootdown == ShootdownMethod.Broadcast) core.Receive(request);
            else if (targets.Contains(core.Number) && core.PendingInterrupts != 0)
            {
                _steps.At(SimStep.InterruptSend, (ulong)core.Number);
                if (Options.DeliversAtOnce) core.TakeInterrupts();
            }
        }

        // What the sender itself stood for.
        request.Acknowledge();
    }

    private CpuAddressSpace? Find(Pcid tag)
    {
        foreach (CpuAddressSpace space in _spaces.Values)
        {
            if (space.Tag == tag) return space;
        }

        return null;
    }
}
