using System.Runtime.CompilerServices;
using IommuSim.DeviceSide;
using IommuSim.Machinery;
using IommuSim.ScalableMode;
using Platform;

namespace IommuSim;

public sealed partial class VtdIommu<TMemory, TSteps>
{
    /// <summary>What VT-d says to a walk of either stage.</summary>
    /// <remarks>
    /// <b>Source.</b> Intel VT-d specification, First-Stage Translation; Second-Stage Translation; Nested Translation; Caching Translation
    /// Information, Using the Paging-Structure Caches; Accessed, Extended Accessed, and Dirty Flags; fault conditions by their names.
    /// </remarks>
    private readonly ref struct Walker<TEntry> : IWalker<TEntry>
        where TEntry : struct, IVtdPagingEntry<TEntry>
    {
        private readonly VtdIommu<TMemory, TSteps> _unit;
        private readonly ref readonly Request _request;
        private readonly ref readonly AddressSpace _space;

        public Walker(VtdIommu<TMemory, TSteps> unit, in Request request, in AddressSpace space)
        {
            _unit = unit;
            _request = ref request;
            _space = ref space;
        }

        public static bool CanBeNested => TEntry.CanBeNested;

        // Software that changes the entry again and again makes the hardware give up (SFS.10, SSS.6).
        public static int FlagAttempts => 8;

        public ulong Address => _request.Address.Value;

        public WalkStep Top => new(_space.Levels, _space.Table, Rights.All);

        public bool IsNested => _space.IsNested;

        public bool KeepsFlags => _space.KeepsFlags;

        public byte FlagsNotUpdated => (byte)_space.Faults.FlagsNotUpdated;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public bool TryResume(out WalkStep step, out byte fault)
        {
            CacheTag tag = _space.WalkTag;
            TranslationCache<PageLevels>[] caches = _unit._caches.WalkCaches(_space.IsFirstStage);
            for (int level = RemappingCaches.LowestTableLevel; level <= _space.Levels; level++)
            {
                if (!caches[level - RemappingCaches.LowestTableLevel].TryFindTable(tag, Address, level, out ulong table, out Rights rights, out fault)) continue;
                unchecked
                {
                    _unit._caches.InFlight.CountsOf(_request.Slot).WalkCacheHits++;
                }

                if (fault != 0) fault = (byte)((VtdFaultReason)fault).For(_request.Access);
                step = new(level - 1, new(table), rights);
                return true;
            }

            step = default;
            fault = 0;
            return false;
        }

        public byte Locate(ref WalkStep step) => (byte)_unit.Locate(_request, _space, ref step);             // SFS.5 to SFS.7

        public byte Unreachable(int level) =>
            (byte)(level == _space.Levels ? _space.Faults.TopUnreachable : _space.Faults.NextUnreachable);    // LCT.4.3, LSL.1, SFS.1, SFS.4, SSS.1, SSS.4

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public byte Check(TEntry entry, int level)
        {
            if (!entry.IsPresent) return (byte)_space.Faults.Absent(_request.Access);                        // LGN.2, LGN.3, SFS.2, SSS.2
            return entry.HasReserved(level, _unit._options) ? (byte)_space.Faults.Reserved : (byte)0;        // LSL.2, SFS.3, SSS.3
        }

        public ulong MissingFlags(in WalkStep step, TEntry entry)
        {
            bool isLeaf = entry.IsLeaf(step.Level);
            if (isLeaf && Denial(_request, _space, step.Rights & entry.Rights) != VtdFaultReason.None) return 0;
            return entry.FlagsFor(_space, dirties: isLeaf && _request.Access == DeviceAccess.Write) & ~entry.Bits;
        }

        public byte FindForFlags(in WalkStep step, ref PhysAddr at)
        {
            if (_request.Type == RequestType.Prefetch) return FlagsNotUpdated;
            if (!_space.IsWalkSnooped) return (byte)_space.Faults.FlagsNotSnooped;                           // SFS.9, SSS.5
            return TEntry.CanBeNested && _space.IsNested ? (byte)_unit.LocateForFlags(_request, _space, step, out at) : (byte)0;    // SFS.8
        }

        public void CountFlags(bool areSet)
        {
            lock (_unit._gate)
            {
                if (areSet) _unit._caches.Counts.FlagUpdates++;
                else _unit._caches.Counts.FlagUpdatesLost++;
            }
        }

        public void Keep(int level, PhysAddr table, Rights rights) => _unit.FillWalkCache(_request, _space, level, table, rights);

        public void Remember(in WalkStep step, byte fault) => _unit.RememberFault(_request, _space, step, (VtdFaultReason)fault);
    }
}
