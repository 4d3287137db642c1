namespace IommuSim;

/// <summary>
/// The accesses that have begun and not ended, each with the epoch in which it began, so that an invalidation can tell
/// which ones may have seen what it invalidates.
/// </summary>
/// <remarks><b>Threads.</b> Under the unit's lock.</remarks>
internal sealed class InFlightAccesses
{
    private Slot[] _slots = new Slot[8];

    private enum Phase : byte
    {
        Free,
        Translating,
        Accessing,
    }

    /// <summary>Begins an access; the slot returned names it until <see cref="End"/>.</summary>
    public int Begin(DeviceAccess access, ulong epoch)
    {
        int index = 0;
        while (index < _slots.Length && _slots[index].Phase != Phase.Free) index++;
        if (index == _slots.Length) Array.Resize(ref _slots, index * 2);
        _slots[index] = new(Phase.Translating, access, epoch);
        return index;
    }

    /// <summary>The epoch in which the access began.</summary>
    public ulong Began(int slot) => _slots[slot].Epoch;

    /// <summary>The access has its translation and goes to memory.</summary>
    public void Translated(int slot) => _slots[slot].Phase = Phase.Accessing;

    public void End(int slot) => _slots[slot].Phase = Phase.Free;

    public bool AnyBefore(ulong epoch) => Any(epoch, static _ => true);

    public bool AnyTranslatingBefore(ulong epoch) => Any(epoch, static slot => slot.Phase == Phase.Translating);

    public bool AnyReadBefore(ulong epoch) => Any(epoch, static slot => slot.Access == DeviceAccess.Read);

    public bool AnyWriteBefore(ulong epoch) => Any(epoch, static slot => slot.Access == DeviceAccess.Write);

    private bool Any(ulong epoch, Func<Slot, bool> matches)
    {
        foreach (Slot slot in _slots)
        {
            if (slot.Phase != Phase.Free && slot.Epoch < epoch && matches(slot)) return true;
        }

        return false;
    }

    private struct Slot(Phase phase, DeviceAccess access, ulong epoch)
    {
        public readonly DeviceAccess Access = access;
        public readonly ulong Epoch = epoch;
        public Phase Phase = phase;
    }
}
