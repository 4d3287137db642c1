namespace Vcmm.Spec;

/// <summary>What a device may do with memory, or wants to.</summary>
[Flags]
public enum Permissions
{
    /// <summary>Nothing.</summary>
    None = 0,

    /// <summary>Read.</summary>
    Read = 1,

    /// <summary>Write.</summary>
    Write = 2,

    /// <summary>Read and write.</summary>
    ReadWrite = Read | Write,

    /// <summary>Fetch instructions.</summary>
    Execute = 4,

    /// <summary>Read, write and fetch instructions.</summary>
    ReadWriteExecute = ReadWrite | Execute,
}

/// <summary>A call of the library, or an access of a device: as data.</summary>
public abstract record Operation
{
    /// <summary>The objects that it makes. What a clone holds is not among them: see <see cref="ObjectId.In"/>.</summary>
    public virtual IEnumerable<ObjectId> Makes => [];

    /// <summary>The objects that it works on.</summary>
    public abstract IEnumerable<ObjectId> Uses { get; }
}
