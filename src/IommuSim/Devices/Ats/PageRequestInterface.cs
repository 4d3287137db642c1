namespace IommuSim.Devices;

/// <summary>A device's account of the groups of page requests that it has outstanding.</summary>
/// <remarks>
/// <para>The lowest index that is free names the next group: so an index is used again as soon as it can be, and an answer that
/// comes twice is taken for another's.</para>
/// <para><b>Source.</b> PCI Express Base Specification, Page Request Services.</para>
/// <para><b>Threads.</b> Any number at once; nothing is called under the lock.</para>
/// </remarks>
internal sealed class PageRequestInterface(int capacity)
{
    /// <summary>The index of a group has 9 bits.</summary>
    public const int GroupCount = 1 << 9;

    private readonly object _gate = new();
    private readonly SortedDictionary<int, DmaTransfer> _groups = [];
    private readonly Queue<DmaTransfer> _waitTheirTurn = [];
    private readonly List<DmaTransfer> _dropped = [];
    private int _unexpected;
    private bool _hasStopped;

    public int UnexpectedResponses
    {
        get
        {
            lock (_gate) return _unexpected;
        }
    }

    public bool HasStopped
    {
        get
        {
            lock (_gate) return _hasStopped;
        }
    }

    public void Stop()
    {
        lock (_gate) _hasStopped = true;
    }

    /// <summary>Opens a group; false if as many as may be are open: the transfer then waits its turn.</summary>
    public bool TryBegin(DmaTransfer transfer, out int group)
    {
        lock (_gate)
        {
            group = 0;
            if (_groups.Count == capacity)
            {
                _waitTheirTurn.Enqueue(transfer);
                return false;
            }

            while (_groups.ContainsKey(group)) group++;
            _groups.Add(group, transfer);
            return true;
        }
    }

    /// <summary>Closes the group that the response is for. There may be none.</summary>
    public bool TryEnd(in PageGroupResponse response, out DmaTransfer? transfer)
    {
        lock (_gate)
        {
            if (_groups.TryGetValue(response.Group, out transfer) && transfer.Prefix?.Pasid == response.Pasid) return _groups.Remove(response.Group);
            transfer = null;
            _unexpected++;
            return false;
        }
    }

    /// <summary>The requests of the group were lost: it is closed, and its transfer asks again when there is room.</summary>
    public void Drop(int group)
    {
        lock (_gate)
        {
            if (_groups.Remove(group, out DmaTransfer? transfer)) _dropped.Add(transfer);
        }
    }

    public DmaTransfer[] TakeDropped()
    {
        lock (_gate)
        {
            DmaTransfer[] taken = [.. _dropped];
            _dropped.Clear();
            return taken;
        }
    }

    /// <summary>The next transfer that waits its turn, if another group may be opened.</summary>
    public bool TryTakeTurn(out DmaTransfer? transfer)
    {
        lock (_gate)
        {
            transfer = null;
            return _groups.Count < capacity && _waitTheirTurn.TryDequeue(out transfer);
        }
    }
}
