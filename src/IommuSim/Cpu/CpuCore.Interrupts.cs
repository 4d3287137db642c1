using Platform;

namespace IommuSim.Cpu;

// How others make the core forget.
public sealed partial class CpuCore<TMemory, TSteps>
{
    private readonly Queue<CpuShootdown> _pending = new();
    private readonly List<CpuShootdown> _broadcasts = [];
    private int _pendingCount;
    private volatile bool _isMasked;
    private CpuAddressSpace? _current;
    private uint _number;

    // Of the address space that it is in.
    private bool _isLazy;

    /// <summary>EFLAGS.IF: whether the core takes interrupts. Those that come while it does not wait until it does.</summary>
    /// <remarks><b>Source.</b> Intel SDM, volume 3A, "Masking Maskable Hardware Interrupts".</remarks>
    public bool InterruptsEnabled
    {
        get => !_isMasked;
        set
        {
            _isMasked = !value;
            TakeInterrupts();
        }
    }

    /// <summary>How many requests wait for the core.</summary>
    public int PendingInterrupts => Volatile.Read(ref _pendingCount);

    /// <summary>
    /// Takes the interrupts that are pending: for each request the core forgets what it names, and acknowledges. A core that executes or that
    /// does not take interrupts leaves them for later.
    /// </summary>
    /// <remarks><b>Source.</b> Intel SDM, volume 3A, "Propagation of Paging-Structure Changes to Multiple Processors".</remarks>
    public void TakeInterrupts()
    {
        while (Volatile.Read(ref _pendingCount) != 0 && !_isMasked)
        {
            _steps.At(SimStep.InterruptTake, (ulong)Number);
            CpuShootdown request;
            lock (_gate)
            {
                if (_isExecuting || _isMasked || !_pending.TryDequeue(out CpuShootdown? next)) return;
                request = next;
                Volatile.Write(ref _pendingCount, _pending.Count);
                foreach (PendingFlush flush in request.Flushes) Apply(flush);
                _counts.Acknowledgements++;
            }

            _steps.At(SimStep.InterruptAcknowledge, (ulong)Number);
            request.Acknowledge();
        }
    }

    /// <summary>Gives the core a request, if it is one of those concerned; under the cluster's lock.</summary>
    internal void Post(CpuShootdown request)
    {
        lock (_gate)
        {
            bool isConcerned = false;
            foreach (PendingFlush flush in request.Flushes) isConcerned |= IsConcerned(flush);
            if (!isConcerned)
            {
                _counts.Deferrals++;
                return;
            }

            if (_pending.Count == 0) _counts.Interrupts++;
            _pending.Enqueue(request);
            Volatile.Write(ref _pendingCount, _pending.Count);
            request.Expect();
        }
    }

    /// <summary>A broadcast reaches the caches of the core, whatever it is doing; the access under way may still go on.</summary>
    /// <remarks>
    /// <b>Source.</b> AMD64 Architecture Programmer's Manual, volume 3, "INVLPGB" and "TLBSYNC": the second waits until what the first
    /// named is seen by every core.
    /// </remarks>
    internal void Receive(CpuShootdown request)
    {
        _steps.At(SimStep.BroadcastReceive, (ulong)Number);
        lock (_gate)
        {
            // Even, as one that is not under way is.
            _epoch += 2;
            _counts.Broadcasts++;
            foreach (PendingFlush flush in request.Flushes) Apply(flush);
            if (!_isExecuting) return;
            request.Expect();
            _broadcasts.Add(request);
        }
    }

    /// <summary>The core runs in an address space from now on; under the cluster's lock.</summary>
    internal void Enter(uint number, CpuAddressSpace space)
    {
        lock (_gate)
        {
            RefuseIfExecuting();
            bool isBehind = space.Known[Number] != space.Generation;
            bool isIn = _current == space;
            (_current, _number, _isLazy) = (space, number, false);
            if (isIn && !isBehind) return;
            // What was cached in an earlier stay is good if nothing was to be forgotten meanwhile.
            Load(space.Root, TagOf(space), keep: !isBehind);
            if (isBehind && space.Known[Number] != 0) _counts.SwitchFlushes++;
            space.Known[Number] = space.Generation;
        }
    }

    /// <summary>The core does nothing in its address space, whose table stays in CR3.</summary>
    internal void GoIdle()
    {
        lock (_gate)
        {
            RefuseIfExecuting();
            _isLazy = true;
        }
    }

    /// <summary>Whether what the core has cached of an address space is not to be used: it forgets before it does.</summary>
    internal bool OwesFlush(CpuAddressSpace space)
    {
        lock (_gate) return (_current != space || _isLazy) && space.Known[Number] != space.Generation;
    }

    /// <summary>Whether the core is concerned at once, and not only when it comes back.</summary>
    private bool IsConcerned(in PendingFlush flush)
    {
        if (flush.Ends is not null) return true;
        // A core that is idle may still walk what CR3 points at, so that it must hear of tables that end.
        return flush.Space is not { } space || (_current == space && (!_isLazy || !flush.LeavesOnly));
    }

    /// <summary>Forgets what a flush names, under the gate.</summary>
    private void Apply(in PendingFlush flush)
    {
        if (flush.Space is not { } space)
        {
            if (flush.Range is { } named) InvalidatePages(TagOf(flush.Tag), named);
            else InvalidateContext(TagOf(flush.Tag));
            return;
        }

        bool isCurrent = _current == space;
        if (isCurrent && flush.Ends == _number) (_current, _hasTable) = (null, false);
        // Requests may come after the core has forgotten more than they name, or after others were deferred.
        ref ulong known = ref space.Known[Number];
        if (known >= flush.Generation) return;
        bool isNext = known + 1 == flush.Generation;
        known = flush.Generation;
        // Without tags nothing outlives a switch.
        if (!isCurrent && !_options.ProcessContextIds) return;
        if (flush.Range is not { } range || !isNext) InvalidateContext(TagOf(space));
        else if (isCurrent) InvalidatePages(range);
        else InvalidatePages(TagOf(space), range);
    }

    private void EndBroadcasts()
    {
        foreach (CpuShootdown request in _broadcasts) request.Acknowledge();
        _broadcasts.Clear();
    }

    private ushort TagOf(CpuAddressSpace space) => TagOf(space.Tag);

    private ushort TagOf(Pcid tag) => _options.ProcessContextIds ? tag.Value : (ushort)0;
}
