using Platform;

namespace IommuSim;

/// <summary>
/// The accesses that have begun and not ended, each with the epoch in which it began, so that an invalidation can tell
/// which ones may have seen what it invalidates.
/// </summary>
/// <remarks><b>Threads.</b> Under the unit's lock.</remarks>
internal sealed class InFlightAccesses
{
    /// <summary>No requester id: an access that the unit itself translates.</summary>
    private const uint Untranslated = uint.MaxValue;
    private Slot[] _slots = new Slot[8];

    private enum Phase : byte
    {
        Free,
        Translating,
        Accessing,

        /// <summary>A page request that is not in the queue yet.</summary>
        Asking,
    }

    /// <summary>Begins an access; the slot returned names it until <see cref="End"/>.</summary>
    public int Begin(DeviceAccess access, ulong epoch) => Begin(new(Phase.Translating, access, epoch, Untranslated));

    /// <summary>Begins an access by a translation that the device has; what may it reach is looked at all the same.</summary>
    public int BeginTranslated(StreamId source, DeviceAccess access, ulong epoch) => Begin(new(Phase.Translating, access, epoch, source.Value));

    /// <summary>Begins a page request.</summary>
    public int BeginPageRequest(ulong epoch) => Begin(new(Phase.Asking, DeviceAccess.Read, epoch, Untranslated));

    /// <summary>The epoch in which the access began.</summary>
    public ulong Began(int slot) => _slots[slot].Epoch;

    /// <summary>The access has its translation and goes to memory.</summary>
    public void Translated(int slot) => _slots[slot].Phase = Phase.Accessing;

    public void End(int slot) => _slots[slot].Phase = Phase.Free;

    public bool AnyBefore(ulong epoch) => Any(epoch, static _ => true);

    public bool AnyTranslatingBefore(ulong epoch) => Any(epoch, static slot => slot.Phase == Phase.Translating);

    public bool AnyReadBefore(ulong epoch) =>
        Any(epoch, static slot => slot is { Access: DeviceAccess.Read, Translator: Untranslated, Phase: not Phase.Asking });

    public bool AnyWriteBefore(ulong epoch) => Any(epoch, static slot => slot is { Access: DeviceAccess.Write, Translator: Untranslated });

    /// <summary>Accesses of one device by translations of its own.</summary>
    public bool AnyTranslatedBefore(ulong epoch, StreamId source)
    {
        foreach (Slot slot in _slots)
        {
            if (slot.Phase != Phase.Free && slot.Epoch < epoch && slot.Translator == source.Value) return true;
        }

        return false;
    }

    public bool AnyPageRequest => Any(ulong.MaxValue, static slot => slot.Phase == Phase.Asking);

    private int Begin(Slot slot)
    {
        int index = 0;
        while (index < _slots.Length && _slots[index].Phase != Phase.Free) index++;
        if (index == _slots.Length) Array.Resize(ref _slots, index * 2);
        _slots[index] = slot;
        return index;
    }

    private bool Any(ulong epoch, Func<Slot, bool> matches)
    {
        foreach (Slot slot in _slots)
        {
            if (slot.Phase != Phase.Free && slot.Epoch < epoch && matches(slot)) return true;
        }

        return false;
    }

    private struct Slot(Phase phase, DeviceAccess access, ulong epoch, uint translator)
    {
        public readonly DeviceAccess Access = access;
        public readonly ulong Epoch = epoch;

        /// <summary>The device whose TLB has translated it.</summary>
        public readonly uint Translator = translator;
        public Phase Phase = phase;
    }
}
