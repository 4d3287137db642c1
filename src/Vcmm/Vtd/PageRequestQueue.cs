using Platform;

namespace Vcmm.Vtd;

/// <summary>The page request queue: accesses of devices that wait for a page, and the answers.</summary>
/// <remarks>
/// <para><b>Groups.</b> A device is answered once for a group of requests, when each of them has been ended: success if all of
/// them are to be tried again.</para>
/// <para><b>Answers.</b> One that could not be sent is kept and sent before anything else is taken or ended: no access waits
/// for ever because a command failed. It may be that the device had it already; then it either knows no such group, or
/// takes it for that of a later one, and so asks once more or fails.</para>
/// <para><b>Overflow.</b> While PRO is set the hardware queues nothing, and answers the last request of each group itself, so that
/// the device asks again. The flag is cleared when the queue is empty; of a group whose last request has not come by
/// then nothing more will come, and it is not answered.</para>
/// <para><b>Threads.</b> Any number at once.</para>
/// <para><b>Source.</b> VT-d specification, "Recoverable Fault Reporting", "Servicing Recoverable Faults", "Software Steps to Drain
/// Page Requests &amp; Responses".</para>
/// </remarks>
internal sealed class PageRequestQueue<TMemory>(
    TMemory memory, IMmio registers, IInvalidations commands, PhysRange queue)
    where TMemory : struct, IPhysicalMemory
{
    private const ulong FrameBytes = 4096;

    [LockRank(LockRank.PageRequests)]
    private readonly object _gate = new();
    private readonly Dictionary<(StreamId Device, Pasid? Pasid), int> _spaces = [];
    private readonly Dictionary<(StreamId Device, Pasid? Pasid, int Index), PageGroup> _incomplete = [];
    private readonly Dictionary<ulong, PageGroup> _requests = [];
    private readonly Queue<DeviceFault> _read = [];
    private readonly List<InvalidationDescriptor> _owed = [];
    private ulong _lastToken;
    private uint _head;

    private uint QueueMask => (uint)queue.ByteCount - 1;

    /// <summary>Gives the hardware the queue, before any device may ask.</summary>
    public void Start()
    {
        registers.Write64(VtdRegisters.PageRequestQueueHead, 0);
        registers.Write64(VtdRegisters.PageRequestQueueTail, 0);
        registers.Write64(VtdRegisters.PageRequestQueueAddress, queue.First.Value | (uint)ulong.Log2(queue.ByteCount / FrameBytes));
        registers.Write32(VtdRegisters.PageRequestStatus, VtdRegisters.PendingPageRequest | VtdRegisters.PageRequestOverflow);
    }

    /// <summary>Takes the queue away. No device may ask.</summary>
    public void Stop() => registers.Write64(VtdRegisters.PageRequestQueueAddress, 0);

    /// <summary>From here on what is asked for in the address space is taken.</summary>
    public void Open(StreamId device, Pasid? pasid)
    {
        lock (_gate) _spaces[(device, pasid)] = _spaces.GetValueOrDefault((device, pasid)) + 1;
    }

    /// <summary>An attachment of the address space came to nothing.</summary>
    public void Undo(StreamId device, Pasid? pasid)
    {
        lock (_gate) EndSpace(device, pasid);
    }

    /// <summary>
    /// Refuses everything that waits in the address space. The hardware has forgotten the space, and what was on its way is in
    /// the queue.
    /// </summary>
    /// <returns><see cref="VcmmError.HardwareFailure"/>; the space is then open, as before.</returns>
    public VcmmError Close(StreamId device, Pasid? pasid, DeviceTlb tlb)
    {
        lock (_gate)
        {
            bool isClosed = false;
            EndSpace(device, pasid);
            try
            {
                // An overflow that is cleared here makes devices ask again; in this address space they are not told that they
                // may not, but are blocked, so that nothing more of it comes.
                while (TryRead(out DeviceFault read)) _read.Enqueue(read);
                RefuseWaiting(device, pasid);
                KeepRead();
                // Behind the answers an invalidation, which does not overtake them: when it is complete the device has them.
                if (_owed.Count != 0) _owed.Add(InvalidationDescriptor.DeviceTlbAll(tlb));
                VcmmError error = SendOwed();
                isClosed = error == VcmmError.None;
                return error;
            }
            finally
            {
                // Also where a port throws.
                if (!isClosed) _spaces[(device, pasid)] = _spaces.GetValueOrDefault((device, pasid)) + 1;
            }
        }
    }

    /// <summary>Takes the oldest request that has not been taken.</summary>
    public bool TryTake(out DeviceFault fault)
    {
        lock (_gate)
        {
            SendOwed();
            if (_read.TryDequeue(out fault)) return true;
            if (TryRead(out fault)) _read.Enqueue(fault);
            // Requests of address spaces that are not attached have been refused on the way.
            SendOwed();
            return _read.TryDequeue(out fault);
        }
    }

    /// <summary>Ends a request.</summary>
    /// <returns><see cref="VcmmError.HardwareFailure"/> if the device is not known to have been told; it will be.</returns>
    public VcmmError End(in DeviceFault fault, bool retry)
    {
        lock (_gate)
        {
            if (fault.Token == 0 || fault.Token > _lastToken) throw new InvalidOperationException($"{fault} was not taken here");
            // The address space was detached, and all that waited in it was refused.
            if (!_requests.Remove(fault.Token, out PageGroup? group)) return VcmmError.None;
            group.Outstanding--;
            group.IsRefused |= !retry;
            if (group.IsComplete && group.Outstanding == 0) Owe(group.Device, group.Pasid, group.Index, !group.IsRefused);
            return SendOwed();
        }
    }

    private void RefuseWaiting(StreamId device, Pasid? pasid)
    {
        var waiting = new HashSet<PageGroup>();
        foreach ((ulong token, PageGroup group) in _requests)
        {
            if (group.Device != device || group.Pasid != pasid) continue;
            _requests.Remove(token);
            waiting.Add(group);
        }

        foreach (PageGroup group in waiting)
        {
            // The last request of one that is not complete will be refused when it comes.
            if (group.IsComplete) Owe(device, pasid, group.Index, retry: false);
            else _incomplete.Remove((device, pasid, group.Index));
        }
    }

    private void EndSpace(StreamId device, Pasid? pasid)
    {
        int left = _spaces[(device, pasid)] - 1;
        if (left == 0) _spaces.Remove((device, pasid));
        else _spaces[(device, pasid)] = left;
    }

    /// <summary>Of what was read ahead only what still waits.</summary>
    private void KeepRead()
    {
        for (int count = _read.Count; count != 0; count--)
        {
            DeviceFault fault = _read.Dequeue();
            if (_requests.ContainsKey(fault.Token)) _read.Enqueue(fault);
        }
    }

    private void Owe(StreamId device, Pasid? pasid, int index, bool retry) =>
        _owed.Add(InvalidationDescriptor.PageGroupResponse(device, pasid, index, retry));

    private VcmmError SendOwed()
    {
        while (_owed.Count != 0)
        {
            int count = Math.Min(_owed.Count, commands.Capacity);
            // A new start of the queue invalidates everything, but answers nobody.
            VcmmError error = commands.Submit(_owed.ToArray().AsSpan(0, count), drainsPageRequests: true, isLostByRestart: true);
            if (error != VcmmError.None) return error;
            _owed.RemoveRange(0, count);
        }

        return VcmmError.None;
    }

    private bool TryRead(out DeviceFault fault)
    {
        fault = default;
        // What comes after the status was cleared raises it again, and an interrupt with it.
        if ((Status & VtdRegisters.PendingPageRequest) != 0) registers.Write32(VtdRegisters.PageRequestStatus, VtdRegisters.PendingPageRequest);
        bool mayRecover = true;
        while (true)
        {
            if (_head != Tail)
            {
                if (TryAccept(ReadHead(), out fault)) return true;
            }
            else if (mayRecover && (Status & VtdRegisters.PageRequestOverflow) != 0)
            {
                mayRecover = false;
                _incomplete.Clear();
                registers.Write32(VtdRegisters.PageRequestStatus, VtdRegisters.PageRequestOverflow);
            }
            else
            {
                return false;
            }
        }
    }

    /// <summary>Hardware that is gone reads as all ones: what was in the ring before is not taken again.</summary>
    private uint Tail
    {
        get
        {
            ulong tail = registers.Read64(VtdRegisters.PageRequestQueueTail);
            return tail == ulong.MaxValue ? _head : (uint)tail & QueueMask & ~(PageRequest.Bytes - 1);
        }
    }

    /// <inheritdoc cref="Tail"/>
    private uint Status
    {
        get
        {
            uint status = registers.Read32(VtdRegisters.PageRequestStatus);
            return status == uint.MaxValue ? 0 : status;
        }
    }

    private PageRequest ReadHead()
    {
        PhysAddr at = queue.First + _head;
        var request = new PageRequest(memory.Read64(at), memory.Read64(at + 8));
        uint next = (_head + PageRequest.Bytes) & QueueMask;
        // A port that throws has lost no request.
        registers.Write64(VtdRegisters.PageRequestQueueHead, next);
        _head = next;
        return request;
    }

    private bool TryAccept(in PageRequest request, out DeviceFault fault)
    {
        fault = default;
        if (!request.IsPageGroupRequest || request.Access == Access.None) return false;
        (StreamId Device, Pasid? Pasid, int Index) key = (request.Device, request.Pasid, request.Group);
        if (!_spaces.ContainsKey((request.Device, request.Pasid)))
        {
            if (request.IsLast) Owe(request.Device, request.Pasid, request.Group, retry: false);
            return false;
        }

        if (!_incomplete.Remove(key, out PageGroup? group)) group = new(request.Device, request.Pasid, request.Group);
        if (request.IsLast) group.IsComplete = true;
        else _incomplete.Add(key, group);
        group.Outstanding++;
        _requests.Add(++_lastToken, group);
        fault = new(request.Device, request.Pasid, request.Address, request.Access, Reason: 0)
        {
            IsStalled = true,
            Token = _lastToken,
            IsPrivileged = request.IsPrivileged,
        };
        return true;
    }
}
