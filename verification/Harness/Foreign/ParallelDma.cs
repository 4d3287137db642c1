using Platform;

namespace Harness.Foreign;

/// <summary>One word of 32 bits that a device reads or writes.</summary>
/// <param name="Device">Its number.</param>
/// <param name="Address">Translated by the IOMMU; a multiple of 4.</param>
/// <param name="MessageWord">Which word of its message it writes; negative: it reads.</param>
internal readonly record struct WordDma(int Device, Iova Address, int MessageWord)
{
    public bool IsWrite => MessageWord >= 0;
}

/// <summary>What QEMU's log says of a transfer.</summary>
internal sealed class WordDmaLog
{
    /// <summary>Faults, as they were reported, recorded or not.</summary>
    public List<QemuEvent> Faults { get; } = [];

    /// <summary>Whether a translation for it was found in the IOTLB.</summary>
    public bool IsHit { get; set; }
}

/// <summary>
/// The devices of a machine of QEMU's at once: each transfer takes 100 ms of virtual time, to which QEMU leaps, and it leaps
/// once for all that were started.
/// </summary>
/// <remarks><b>Threads.</b> One.</remarks>
internal sealed class ParallelDma(EduDevice[] devices, QemuLog log)
{
    private readonly int[] _read = new int[devices.Length];

    /// <summary>How many words each device can read before <see cref="Collect"/>.</summary>
    public int WordsPerDevice { get; } = Math.Min(EduDevice.StagingWords, 4096 / sizeof(uint) / devices.Length);

    /// <summary>Lets each device make one transfer, in the order given.</summary>
    /// <param name="transfers">Each of another device.</param>
    /// <returns>What was logged of each, and all faults in their order.</returns>
    public (WordDmaLog[] Logs, List<QemuEvent> Faults) Run(IReadOnlyList<WordDma> transfers)
    {
        lock (log)
        {
            log.TakeAll();
            foreach (WordDma transfer in transfers)
            {
                EduDevice device = devices[transfer.Device];
                if (transfer.IsWrite) device.BeginWrite(transfer.Address, transfer.MessageWord);
                else device.BeginRead(transfer.Address, _read[transfer.Device]++);
            }

            EduDevice.End([.. transfers.Select(transfer => devices[transfer.Device])]);
            var logs = new WordDmaLog[transfers.Count];
            for (int i = 0; i < logs.Length; i++) logs[i] = new();
            var faults = new List<QemuEvent>();
            foreach (QemuEvent entry in log.TakeAll())
            {
                if (entry.Kind == QemuEventKind.Fault) faults.Add(entry);
                int index = IndexOf(transfers, entry.Source);
                if (index < 0) continue;
                if (entry.Kind == QemuEventKind.Fault) logs[index].Faults.Add(entry);
                else if (entry.Kind == QemuEventKind.Hit) logs[index].IsHit = true;
            }

            return (logs, faults);
        }
    }

    /// <summary>What the devices have read since the last time: by device, in order. Of a read that was blocked it is 0.</summary>
    public uint[][] Collect()
    {
        lock (log)
        {
            log.TakeAll();
            for (int i = 0; i < devices.Length; i++)
            {
                if (_read[i] != 0) devices[i].BeginMessages(_read[i], i * WordsPerDevice * sizeof(uint));
            }

            uint[][] words = [.. _read.Select(count => new uint[count])];
            int missing = _read.Sum();
            EduDevice.End([.. devices.Where((_, i) => _read[i] != 0)]);
            Array.Clear(_read);

            foreach (QemuEvent entry in log.TakeAll().Where(entry => entry.Kind == QemuEventKind.Message && entry.Address >> 12 == QemuLog.MessageAddress >> 12))
            {
                (int device, int word) = Math.DivRem((int)(entry.Address & 0xFFF) / sizeof(uint), WordsPerDevice);
                words[device][word] = (uint)entry.Value;
                missing--;
            }

            return missing == 0 ? words : throw new QemuException($"QEMU did not log {missing} of the words that devices read");
        }
    }

    private int IndexOf(IReadOnlyList<WordDma> transfers, uint source)
    {
        for (int i = 0; i < transfers.Count; i++)
        {
            if (devices[transfers[i].Device].Id.Value == source) return i;
        }

        return -1;
    }
}
